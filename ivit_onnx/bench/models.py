"""Which networks are measured: exported files, or architectures by name, exported into the cache when needed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivit_onnx.architectures import Size, architecture_from_json, known_architecture
from ivit_onnx.bench.products import Subject, our_product, product_path
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import CheckpointError, IvitError, ModelError
from ivit_onnx.metadata import describe
from ivit_onnx.runtime import create_session, load_runtime

if TYPE_CHECKING:
    from ivit_onnx.options.choices import Nonlinear

__all__ = ["Model", "Variant", "default_cache", "model_file", "named_model"]


@dataclass(frozen=True)
class Variant:
    """One way to run our model: a file, or a product of the cache that becomes one, forced kernels if any, and the
    provider if it is not the custom operators of the CPU provider. `notes` have the Settings of the file."""

    name: str
    path: Path
    product: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name for people: "ivit-onnx", and what is special about this way if there are several."""
        special = self.name.removeprefix("ivit").strip("-").replace("-", ", ")
        return f"ivit-onnx ({special})" if special else "ivit-onnx"


@dataclass(frozen=True)
class Model:
    """A network to measure: its label, where the baselines' files are kept, and how we run it; the first way is the one
    that others are compared with."""

    label: str
    subject: Subject
    variants: tuple[Variant, ...]


def default_cache() -> Path:
    """`ivit-bench` in the user's folder for caches."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ivit-bench"
    except RuntimeError:
        raise IvitError("no home folder to keep prepared models in: pass --cache") from None


def model_file(
    path: Path, cache: Path, checkpoint: Path | None, kernels: Sequence[str], providers: Sequence[str] = ()
) -> Model:
    """An exported model. `kernels` forces variants of the native kernels, none leaves the choice to the library;
    `providers` are names of `ivit_onnx.runtime.DEVICES`, "cpu" by default.

    Raises ModelError when the file is not an exported model.
    """
    onnxruntime = load_runtime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = create_session(path, session_options=options, threads=1)
    describe(session, path)
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        arch = architecture_from_json(json.loads(metadata["ivit.arch"]))
        settings = Settings.of_metadata(metadata)
    except (CheckpointError, ValueError, TypeError) as error:
        raise ModelError(f"{path} has damaged metadata ({error}); export the model again") from None
    notes = {"file": path.name, **settings.to_json()}
    variants = _with_kernels([Variant("ivit", path, None, {}, notes)], kernels)
    return Model(path.name, Subject.at(cache, arch, checkpoint), _with_providers(variants, providers))


def named_model(
    name: str,
    cache: Path,
    checkpoint: Path | None,
    kernels: Sequence[str],
    image_size: Size | None = None,
    providers: Sequence[str] = (),
    *,
    nonlinear: Sequence[Nonlinear] = (),
    softmax_bits: Sequence[int] = (),
) -> Model:
    """A timm architecture by name, at another image size if wanted.

    There is one way to run it for each of `nonlinear` and `softmax_bits`; none of them means that of `ivit-export`.

    Raises CheckpointError for an unknown name or a size that does not fit.
    """
    arch = known_architecture(name)
    if image_size is not None and image_size != arch.image_size:
        arch = replace(arch, image_size=image_size)
    subject = Subject.at(cache, arch, checkpoint)
    default = Settings.default(arch)
    chosen = [
        Settings(kind, bits)
        for kind in nonlinear or [default.nonlinear]
        for bits in softmax_bits or [default.softmax_bits]
    ]
    variants = []
    for settings in chosen:
        product = our_product(settings)
        own_name = f"ivit-{settings.name(default, chosen)}".rstrip("-")
        variants.append(Variant(own_name, product_path(subject, product), product, {}, settings.to_json()))
    return Model(arch.name, subject, _with_providers(_with_kernels(variants, kernels), providers))


def _with_kernels(variants: Sequence[Variant], kernels: Sequence[str]) -> tuple[Variant, ...]:
    """Each variant with each of the forced kernels."""
    if not kernels:
        return tuple(variants)
    return tuple(
        replace(
            variant,
            name=f"{variant.name}-{name}",
            environment={"IVIT_CPU": name},
        )
        for variant in variants
        for name in kernels
    )


def _with_providers(variants: Sequence[Variant], providers: Sequence[str]) -> tuple[Variant, ...]:
    """Each variant with each of the providers."""
    return tuple(
        variant if provider == "cpu" else _with_provider(variant, provider)
        for provider in providers or ["cpu"]
        for variant in variants
    )


def _with_provider(variant: Variant, provider: str) -> Variant:
    special = provider.removeprefix("ivit-").replace("cpu", "compiled")
    return replace(variant, name=f"{variant.name}-{special}", config={**variant.config, "provider": provider})
