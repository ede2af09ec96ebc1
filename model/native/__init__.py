"""Arithmetic of our own on the CPU: packed weights, kernels in C, one native call per forward pass."""

from .door import CHUNK, available, drawback, isa_paths
from .packed import open_packed, pack, unsupported, write
from .trunk import NativeTrunk, Storage

__all__ = [
    "CHUNK",
    "NativeTrunk",
    "Storage",
    "available",
    "drawback",
    "isa_paths",
    "open_packed",
    "pack",
    "unsupported",
    "write",
]
