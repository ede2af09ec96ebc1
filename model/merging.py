"""Puts an adapter into a model's weights as they are read: to a converter the result looks like any other model.

Adapted matrices become float32, W + scale * up @ down, one at a time when somebody asks; all others stay as they lie in
the file. Knows tensors by name, no arithmetic of any trunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType as Type

from quatrain.model.api import QuatrainError
from quatrain.model.gguf_file import dense, shapes

if TYPE_CHECKING:
    from quatrain.model.adapter import AdapterFile
    from quatrain.model.native.gguf_levels import GgufTensor
    from quatrain.model.source import Source


@dataclass(frozen=True, slots=True)
class Merged:
    """An adapted matrix in the ways of a GGUF reader's tensor. Not kept: computed whenever it is read."""

    base: GgufTensor
    down: np.ndarray
    up: np.ndarray
    scale: float

    @property
    def tensor_type(self) -> Type:
        return Type.F32

    @property
    def shape(self) -> Any:
        return self.base.shape

    @property
    def data(self) -> np.ndarray:
        change = self.up.astype(np.float32) @ self.down.astype(np.float32)  # (out, in)
        return dense(self.base) + np.float32(self.scale) * change

    @property
    def n_bytes(self) -> int:
        return self.up.shape[0] * self.down.shape[1] * 4


def applied(source: Source, file: AdapterFile) -> Source:
    """The model with the adapter in its weights. Raises QuatrainError where the shapes do not fit."""
    expected, merged = shapes(source.config), {}
    for name in file.config.names:
        down, up = file.weights[name + ".down"], file.weights[name + ".up"]
        if (shape := expected.get(name)) != (up.shape[0], down.shape[1]):
            raise QuatrainError(
                f"the adapter's {name} is {(up.shape[0], down.shape[1])}, the model's {shape}. "
                "Use --adapter none, or train one for this model: quatrain train adapter"
            )
        if up.any():  # what is not changed keeps its own numbers: int8 of them would differ a little
            merged[name] = Merged(source.tensors[name], down, up, file.config.scale)
    tensors: Mapping[str, Any] = {**source.tensors, **merged}
    return replace(source, tensors=tensors)
