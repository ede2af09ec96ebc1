"""Writes a model's weights in the numbers that an arithmetic computes with: one converter for each kind of file.

Knows tensors by their names, neither where they came from nor what is computed with them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quatrain.model import fetch, native

if TYPE_CHECKING:
    from torch import Tensor

    from quatrain.model.native.gguf_levels import GgufTensor
    from quatrain.model.source import Source


def convert_torch(kind: str) -> Callable[[Source, Path, fetch.Report], None]:
    """A converter to torch tensors: `bf16`, `f32`, or `int8` with a scale per output row."""

    def write(source: Source, target: Path, report: fetch.Report) -> None:
        import torch
        from safetensors.torch import save_file

        from quatrain.model import gguf_file

        out: dict[str, torch.Tensor] = {}
        for i, name in enumerate(gguf_file.shapes(source.config)):
            report("converting", i, 0)
            if name == "token_embd.weight" and source.tied:
                continue
            held = name if name in source.tensors else "token_embd.weight"
            out |= as_torch(name, source.tensors[held], kind)
        save_file(out, target)

    return write


def as_torch(name: str, tensor: GgufTensor, kind: str) -> dict[str, Tensor]:
    """A weight in the numbers of `kind`, with its scales where those are apart."""
    import torch

    from quatrain.model import gguf_file

    weight = torch.tensor(gguf_file.dense(tensor))
    dtype = torch.float32 if kind == "f32" else torch.bfloat16
    if kind != "int8" or weight.ndim < 2:
        return {name: weight.to(dtype)}
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127  # (out,)
    return {name: (weight / scale[:, None]).round().to(torch.int8), name + ".scale": scale.to(dtype)}


def write_heads(source: Source, kind: str, target: Path) -> None:
    """The layers of a model's own heads, for torch; our kernels keep the shared norm and output to themselves, so
    that they are written once more beside those."""
    from safetensors.torch import save_file

    held = dict(getattr(source, "heads", {}))
    if kind == "native":
        held |= {name: source.tensors[name] for name in ("output_norm.weight", "output.weight")}
    numbers = "bf16" if kind == "native" else kind.removeprefix("torch-")
    save_file({k: v for name, tensor in held.items() for k, v in as_torch(name, tensor, numbers).items()}, target)


def convert_native(source: Source, target: Path, report: fetch.Report) -> None:
    """Packed weights for our kernels."""
    tensors = dict(source.tensors)
    if source.tied and "output.weight" in tensors:
        tensors["token_embd.weight"] = tensors["output.weight"]
    native.write(source.config, tensors, target, lambda done, total: report("converting", done, total))


CONVERTERS: dict[str, Callable[[Source, Path, fetch.Report], None]] = {
    "native": convert_native,
    "torch-bf16": convert_torch("bf16"),
    "torch-int8": convert_torch("int8"),
    "torch-f32": convert_torch("f32"),
}
