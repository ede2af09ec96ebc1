"""Opens converted weights as a trunk: one opener for each arithmetic. Imports torch only where it computes.

Knows tensors in files and the trunks over them; neither names of models nor where their folders are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quatrain.model import native
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk


def open_native(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """Our kernels over memory-mapped packed weights."""
    return native.NativeTrunk(config, native.open_packed(weights), isa=path, taps=taps)


def open_torch(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk over memory-mapped weights."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.transformer import Transformer

    tensors = load_file(weights)
    # torch's packed int8 product needs aligned rows, which a mapped file does not promise
    aligned = {name: t.clone() if t.dtype == torch.int8 else t for name, t in tensors.items()}
    return Transformer(config, aligned, taps)


def open_cuda(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk on an NVIDIA GPU, steps recorded as graphs."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.cuda import CudaTransformer

    if not torch.cuda.is_available():
        raise QuatrainError(
            "torch finds no NVIDIA GPU here. It needs a driver and a torch built with CUDA "
            "(https://pytorch.org/get-started); without them use --arithmetic auto."
        )
    return CudaTransformer(config, load_file(weights, device="cuda"), taps)


def open_mps(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk on an Apple GPU. Not tested by us; `auto` does not choose it."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.transformer import Transformer

    if not torch.backends.mps.is_available():
        raise QuatrainError("torch finds no Apple GPU here; use --arithmetic auto")
    return Transformer(config, load_file(weights, device="mps"), taps)


OPENERS: dict[str, Callable[[ModelConfig, Path, str | None, tuple[int, ...]], Trunk]] = {
    "native": open_native,
    "torch-bf16": open_torch,
    "torch-int8": open_torch,
    "torch-f32": open_torch,
    "cuda": open_cuda,
    "mps": open_mps,
}
