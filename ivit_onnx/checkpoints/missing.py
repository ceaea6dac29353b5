"""What to say of a checkpoint that is no file: names of the Hugging Face Hub and of timm, and addresses."""

from __future__ import annotations

import importlib.util
import re

from ivit_onnx.architectures import KNOWN

__all__ = ["how_to_get"]

_HUB = re.compile(r"(?:hf[-_]hub:|https?:/+huggingface\.co/)?(?P<name>[\w-]+[\w.-]*/[\w.-]+)")
_HUB_FILE = re.compile(r"https?:/+huggingface\.co/(?P<name>[\w.-]+/[\w.-]+)/(?:resolve|blob)/[^/]+/(?P<file>[\w./-]+)")
_FILES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar", ".npz", ".onnx", ".json", ".pkl", ".h5")


def how_to_get(given: str) -> str | None:
    """How to get what is given as a checkpoint but is no file here, as the end of a sentence; None for a mere path."""
    file = _HUB_FILE.fullmatch(given)
    if file is not None:
        command = f"hf download {file['name']} --local-dir {_folder(file['name'])}"
        return f"it must be downloaded first: `{command}`, then give that folder, or {file['file']} in it"
    hub = _HUB.fullmatch(given)
    if hub is not None and not hub["name"].endswith(_FILES):
        folder = _folder(hub["name"])
        command = f"hf download {hub['name']} --local-dir {folder}"
        return f"a model of the Hugging Face Hub must be downloaded first: `{command}`, then give the folder {folder}"
    address = re.fullmatch(r"(?P<scheme>https?|ftp):/+(?P<rest>\S+)", given)
    if address is not None:
        name = address["rest"].rpartition("/")[2].partition("?")[0]
        command = f"curl -L -o {name or 'checkpoint.pth'} '{address['scheme']}://{address['rest']}'"
        return f"it must be downloaded first: `{command}`"
    if re.match(r"(s3|gs|az|hdfs):/", given):
        return "it must be downloaded first"
    if re.fullmatch(r"\w+(\.\w+)?", given) and _is_timm(given):
        make = f"timm.create_model('{given}', pretrained=True)"
        return (
            "a model of timm must be saved first: "
            f"`python -c \"import timm; timm.models.save_for_hf({make}, '{given}')\"`, then give the folder {given}"
        )
    return None


def _folder(name: str) -> str:
    return name.rpartition("/")[2]


def _is_timm(name: str) -> bool:
    if name.partition(".")[0] in KNOWN:
        return True
    if importlib.util.find_spec("timm") is None:
        return False
    from timm.models import is_model

    return bool(is_model(name))
