"""What readers of model folders hand over: float tensors as stored, seen like those of a GGUF file.

The numbers stay in the mapped file until somebody asks for rows. Knows no names of any family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType as Type

from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`data` is (outputs, bytes) uint8, `shape` has the inputs first: the ways of a GGUF reader's tensor."""

    tensor_type: Type
    data: np.ndarray
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return self.data.nbytes


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A readable folder. `tied`: input and output share one matrix. `tokenizer` builds what `tokenizer.save` takes.

    `heads` are the layers of `head_count` heads beside the trunk's own, `blk.{j}.*`, which read what the trunk's last
    layer reads or, `chained`, each what the head before it made.
    """

    path: Path
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    tied: bool
    tokenizer: Callable[[], tuple[Tokenizer, dict[str, np.ndarray]]]
    heads: Mapping[str, StoredTensor] = field(default_factory=dict)
    head_count: int = 0
    chained: bool = False


def stored(name: str, tensor: Tensor, path: Path) -> StoredTensor:
    """A torch tensor as it lies in the file. QuatrainError for numbers other than 16- or 32-bit floats."""
    import torch

    types = {torch.float32: Type.F32, torch.float16: Type.F16, torch.bfloat16: Type.BF16}
    if tensor.dtype not in types:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise QuatrainError(f"{path}: tensor {name} holds {kind} numbers; only float32, float16 and bfloat16 are read.")
    raw = tensor.contiguous().view(torch.uint8).numpy()
    return StoredTensor(types[tensor.dtype], raw, tuple(reversed(tensor.shape)))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. QuatrainError when it is missing or not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QuatrainError(f"{path.parent} has no {path.name}: the folder is not a whole model.") from None
    except (OSError, ValueError) as error:
        raise QuatrainError(f"{path} cannot be read ({error}). Get the file again.") from error
    if not isinstance(found, dict):
        raise QuatrainError(f"{path} does not hold a JSON object. Get the file again.")
    return found
