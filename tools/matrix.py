"""Installs the wheel beside the oldest and the newest packages, under every Python found, and tests it in each.

    python tools/matrix.py [--wheel WHEEL] [--python 3.12 ...] [--only NAME ...] [--output FILE]

Each configuration gets a virtual environment of its own, made by uv and removed afterwards. In it: `pip check`, every
integer of two small models (tools/smoke.py) and, where PyTorch is part of it, the export of these models anew and a
part of the test suite. What differs, and what could not be tested and why, goes into the output file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
#: Versions of ONNX Runtime between the oldest, which pyproject.toml states, and the newest.
RUNTIMES = tuple(f"1.{minor}.*" for minor in range(24, 32))
TESTS = ("test_reference_ivit.py",)
#: Checkpoints of the reference code, whose scales are in the file: exporting them chooses nothing.
CHECKPOINTS = {
    "deit": (ROOT / "tests/data/deit_micro_ivit.pth.tar", ("--num-heads", "2")),
    "swin": (ROOT / "tests/data/swin_micro_ivit.pth.tar", ()),
}
NORMALISATION = ("--mean", "0.3,0.3,0.3", "--std", "0.4,0.4,0.4")
NAMED = (
    "numpy",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "onnx-ir",
    "torch",
    "timm",
    "typer",
    "rich",
    "pillow",
    "safetensors",
)


@dataclass(frozen=True)
class Configuration:
    """One environment: a Python, extras, requirements beyond theirs, and which versions uv is to choose."""

    name: str
    python: str
    extras: tuple[str, ...] = ("cpu",)
    more: tuple[str, ...] = ()
    oldest: bool = False


def configurations(pythons: dict[str, str]) -> list[Configuration]:
    """All of them, for interpreters by version; the first configuration makes the models that the others run."""
    (first, path), *others = pythons.items()
    export, everyone = ("cpu", "export"), [(first, path), *others]
    found = [Configuration(f"export, newest, Python {version}", at, export) for version, at in everyone]
    found.insert(1, Configuration(f"export, oldest, Python {first}", path, export, oldest=True))
    found += [Configuration(f"run, newest, Python {version}", at) for version, at in everyone]
    found += [Configuration(f"run, oldest, Python {version}", at, oldest=True) for version, at in everyone]
    return found + [Configuration(f"run, onnxruntime {v}", path, more=(f"onnxruntime=={v}",)) for v in RUNTIMES]


class CommandError(Exception):
    """A command of a configuration failed."""


def call(*words: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command.

    Raises:
        CommandError: It failed; the last lines of what it printed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONSAFEPATH": "1", "UV_PYTHON_DOWNLOADS": "never"},
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise CommandError(f"{Path(words[0]).name} {' '.join(map(str, words[1:4]))}: " + "\n".join(said[-12:]))
    return done.stdout


def requirements(wheel: Path, extras: tuple[str, ...]) -> list[str]:
    """What a wheel needs with some of its extras, as it states it itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    stated = [line.partition(";") for line in metadata.get_all("Requires-Dist", [])]
    wanted = {f"extra=='{extra}'" for extra in extras} | {""}
    return [need.strip() for need, _, extra in stated if extra.replace(" ", "").replace('"', "'") in wanted]


class Environment:
    """A virtual environment with the wheel in it."""

    def __init__(self, folder: Path, wheel: Path, configuration: Configuration) -> None:
        self.folder, self.python = folder, folder / "bin" / "python"
        call("uv", "venv", "--quiet", "--clear", "--python", configuration.python, folder)
        resolution = ["--resolution", "lowest-direct", "--only-binary", ":all:"] if configuration.oldest else []
        # torch first: otherwise uv takes the newest torchvision, which timm needs, and the torch that goes with it.
        needs = sorted(requirements(wheel, configuration.extras), key=lambda need: not need.startswith("torch"))
        self.install(*resolution, *needs, *configuration.more)
        self.install("--no-deps", wheel)

    def install(self, *words: str | Path) -> None:
        call("uv", "pip", "install", "--quiet", "--python", self.python, *words)

    def versions(self) -> dict[str, str]:
        listed = json.loads(call("uv", "pip", "list", "--python", self.python, "--format", "json"))
        return {package["name"]: package["version"] for package in listed}

    def add_tests(self) -> None:
        """pytest and hypothesis, beside exactly what is installed."""
        frozen = self.folder / "frozen.txt"
        frozen.write_text("".join(f"{name}=={version}\n" for name, version in self.versions().items()))
        self.install("--constraint", frozen, "pytest", "hypothesis")

    def export(self, target: Path) -> None:
        """Export the checkpoints into a folder."""
        target.mkdir(parents=True, exist_ok=True)
        for name, (checkpoint, options) in CHECKPOINTS.items():
            words = [*options, *NORMALISATION, "--force", "-o", str(target / f"{name}.onnx")]
            call(self.python.with_name("ivit-export"), checkpoint, *words)

    def remember(self, folder: Path) -> None:
        """Write images and the logits that function bodies give for them beside each model."""
        script = (
            "import sys, numpy, ivit_onnx\n"
            "image = numpy.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=numpy.uint8)\n"
            "for path in sys.argv[1:]:\n"
            "    (logits,) = ivit_onnx.create_session(path, kernels=False).run(None, {'image': image})\n"
            "    numpy.savez(path.replace('.onnx', '.npz'), image=image, logits=logits)\n"
        )
        call(self.python, "-c", script, *sorted(folder.glob("*.onnx")))


def run(configuration: Configuration, wheel: Path, work: Path) -> dict[str, Any]:
    """Set one configuration up, test it, remove it."""
    start, models = time.monotonic(), work / "models"
    result: dict[str, Any] = {"extras": list(configuration.extras), "checks": []}
    folder = work / "environment"
    try:
        environment = Environment(folder, wheel, configuration)
        result["python"] = call(environment.python, "-c", "import platform; print(platform.python_version())").strip()
        found = environment.versions()
        result["versions"] = {name: found[name] for name in NAMED if name in found}
        call("uv", "pip", "check", "--python", environment.python)
        result["checks"].append("pip check")
        if "export" in configuration.extras:
            if not models.is_dir():
                environment.export(models)
                environment.remember(models)
            again = work / "again"
            environment.export(again)
            for file in models.glob("*.npz"):
                shutil.copy(file, again)
            call(environment.python, ROOT / "tools/smoke.py", again, cwd=work)
            result["checks"].append("export anew, every integer")
            environment.add_tests()
            tests = [ROOT / "tests" / name for name in TESTS]
            said = call(environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=work)
            result["checks"].append(f"tests: {said.strip().splitlines()[-1]}")
        call(environment.python, ROOT / "tools/smoke.py", models, cwd=work)
        result["checks"].append("run, every integer")
        result["result"] = "passed"
    except CommandError as error:
        result |= {"result": "failed", "error": str(error)}
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(work / "again", ignore_errors=True)
    return result | {"seconds": round(time.monotonic() - start)}


def find(wanted: list[str]) -> dict[str, str]:
    """Interpreters that are here, of those named by version or path: minor version and path."""
    found = {}
    for python in wanted:
        try:
            path = call("uv", "python", "find", "--no-project", "--system", python).strip()
        except CommandError:
            continue
        found[call(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()] = path
    return found


def audit() -> dict[str, Any]:
    """Known vulnerabilities of the packages of this environment, where pip-audit can ask for them."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "30"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return {"result": "not run", "reason": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    asked = [package for package in packages if "skip_reason" not in package]
    # The package itself is on no index; an answer for hardly any other means that there is no service.
    if len(asked) * 2 < len(packages):
        return {"result": "not run", "reason": f"the service knew {len(asked)} of {len(packages)} packages"}
    hits = {package["name"]: [hit["id"] for hit in package["vulns"]] for package in asked if package["vulns"]}
    return {"result": "failed" if hits else "passed", "asked": len(asked), "vulnerabilities": hits}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="default: the CPU wheel in dist")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions, or paths; the first one does the most")
    parser.add_argument(
        "--only", nargs="+", help="names of configurations, or how they begin; others keep their result"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "matrix", help="where environments are made")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "matrix.json")
    options = parser.parse_args()
    wheels = sorted((ROOT / "dist").glob("ivit_onnx-*-py3-none-manylinux*.whl"))
    wheel = options.wheel or next(wheel for wheel in wheels if "+" not in wheel.name)  # a label is that of GPUs
    options.work.mkdir(parents=True, exist_ok=True)

    pythons = find(options.python)
    if not pythons:
        parser.error(f"none of these is here: {', '.join(options.python)}")
    audit_result = audit()
    print(f"pip-audit: {audit_result}", flush=True)
    results = {f"Python {version}": {"result": "no interpreter"} for version in PYTHONS if version not in pythons}
    if options.output.exists():
        before = json.loads(options.output.read_text())
        if before["wheel"] == wheel.name and options.only:
            results |= before["configurations"]
            results = {name: result for name, result in results.items() if name.removeprefix("Python ") not in pythons}
    for configuration in configurations(pythons):
        if options.only and not configuration.name.startswith(tuple(options.only)):
            continue
        last = run(configuration, wheel.resolve(), options.work.resolve())
        print(f"{last['result']} in {last['seconds']} s: {configuration.name} {last.get('error', '')}", flush=True)
        results[configuration.name] = last
        document = {"wheel": wheel.name, "pip-audit": audit_result, "configurations": results}
        options.output.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(entry["result"] == "failed" for entry in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
