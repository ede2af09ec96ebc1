"""Finds the compiled kernels and opens their doors: ctypes mirrors of the C structures and functions.

It knows names, sizes and pointers; it does not know what a transformer is. ctypes releases the GIL in calls.
"""

from __future__ import annotations

import ctypes as c
import functools
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np

from .layouts import BLOCK, KINDS

CHUNK = 256  # most rows of one native call
PHASES = ("prepare", "qkv", "attention", "out", "ffn_up", "ffn_down", "logits")
_REMEDY = "install a C compiler (Debian: gcc; macOS: xcode-select --install; Windows: MSVC) and reinstall"


class Matrix(c.Structure):
    """qt_matrix of c/layout.h."""

    _fields_ = (("data", c.c_void_p), ("kind", c.c_int32), ("outputs", c.c_int32), ("inputs", c.c_int32))


class Layer(c.Structure):
    """qt_layer of c/trunk.h."""

    _fields_ = (
        *((name, Matrix) for name in ("q", "k", "v", "o", "gate", "up", "down")),
        *((name, c.c_void_p) for name in ("attn_norm", "ffn_norm", "q_bias", "k_bias", "v_bias")),
    )


class Model(c.Structure):
    """qt_model of c/trunk.h."""

    _fields_ = (
        *((n, c.c_int32) for n in ("layers", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab")),
        ("rms_eps", c.c_float),
        ("layer", c.POINTER(Layer)),
        ("embedding", Matrix),
        ("output", Matrix),
        ("final_norm", c.c_void_p),
    )


class Call(c.Structure):
    """qt_call of c/trunk.h."""

    _fields_ = (
        ("ids", c.c_void_p),
        *((name, c.c_int32) for name in ("count", "start", "capacity")),
        *((name, c.c_void_p) for name in ("keys", "values", "turns", "rows")),
        ("asked", c.c_int32),
        *((name, c.c_void_p) for name in ("logits", "best", "logprob", "tap_layers")),
        ("tapped", c.c_int32),
        *((name, c.c_void_p) for name in ("taps", "seconds")),
    )


class HeadBlock(c.Structure):
    """qt_head_block of c/head.h."""

    _fields_ = (("norm", c.c_void_p), ("q", Matrix), ("o", Matrix), ("q_bias", c.c_void_p), ("layer", c.c_int32))


class HeadModel(c.Structure):
    """qt_head_model of c/head.h."""

    _fields_ = (
        *((n, c.c_int32) for n in ("taps", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab", "blocks")),
        ("rms_eps", c.c_float),
        *((name, c.c_void_p) for name in ("tap_norms", "state_norm", "token_norm")),
        *((name, Matrix) for name in ("fuse", "join", "gate", "up", "down", "output")),
        ("block", c.POINTER(HeadBlock)),
        *((name, c.c_void_p) for name in ("ffn_norm", "final_norm", "ids")),
        ("embedding", Matrix),
    )


class DraftCall(c.Structure):
    """qt_draft_call of c/head.h."""

    _fields_ = (
        ("taps", c.c_void_p),
        *((name, c.c_int32) for name in ("token", "length", "capacity")),
        *((name, c.c_void_p) for name in ("keys", "values", "turns")),
        ("limit", c.c_int32),
        ("floor", c.c_float),
        *((name, c.c_void_p) for name in ("tokens", "probs")),
    )


@functools.cache
def library() -> c.CDLL | str:
    """The kernels, or one line that says why they are not here and what to install."""
    here = Path(__file__).parent
    found = [path for suffix in EXTENSION_SUFFIXES if (path := here / f"_kernels{suffix}").exists()]
    if not found:
        return f"the native kernels were not compiled when Quatrain was installed; {_REMEDY}"
    try:
        kernels = c.CDLL(str(found[0]))
    except OSError as error:
        return f"the native kernels do not load ({error}); {_REMEDY}"
    kernels.quatrain_path.restype = c.c_char_p
    kernels.quatrain_trunk_new.restype = c.c_void_p
    kernels.quatrain_trunk_new.argtypes = (c.POINTER(Model), c.c_char_p, c.c_int)
    kernels.quatrain_trunk_free.restype = None
    kernels.quatrain_trunk_free.argtypes = (c.c_void_p,)
    kernels.quatrain_forward.argtypes = (c.c_void_p, c.POINTER(Call))
    kernels.quatrain_head_new.restype = c.c_void_p
    kernels.quatrain_head_new.argtypes = (c.POINTER(HeadModel), c.c_void_p)
    kernels.quatrain_head_free.restype = None
    kernels.quatrain_head_free.argtypes = (c.c_void_p,)
    kernels.quatrain_draft.argtypes = (c.c_void_p, c.POINTER(DraftCall))
    kernels.quatrain_product.argtypes = (c.c_char_p, c.POINTER(Matrix), c.c_void_p, c.c_int, c.c_void_p)
    kernels.quatrain_decode_rows.restype = None
    kernels.quatrain_decode_rows.argtypes = (c.POINTER(Matrix), c.c_void_p, c.c_int, c.c_void_p)
    return kernels


def available() -> str | None:
    """None if the kernels run on this machine, else one line: why not, and what to install."""
    kernels = library()
    return kernels if isinstance(kernels, str) else None


def isa_paths() -> tuple[str, ...]:
    """Names of the instruction paths that run here, best first; empty if the kernels are not available."""
    kernels = library()
    if isinstance(kernels, str):
        return ()
    names: list[str] = []
    while name := kernels.quatrain_path(len(names)):
        names.append(name.decode())
    return tuple(names)


def drawback() -> str | None:
    """Why these kernels are not the first choice on this machine, or None if they are. Torch outruns the plain loops
    (LOG.md)."""
    if reason := available():
        return reason
    slow = isa_paths()[0] == "portable"
    return "this processor has neither AVX2 nor the dot products of newer ARM processors" if slow else None


def address(array: np.ndarray | None) -> int | None:
    """Where an array's data begins; the caller keeps the array alive and contiguous."""
    return None if array is None else array.ctypes.data


def matrix_of(packed: np.ndarray, kind: str, outputs: int, inputs: int) -> Matrix:
    """Describe a packed array to C. ValueError if its shape is not that of such a matrix."""
    if packed.shape != KINDS[kind].shape(outputs, inputs) or packed.dtype != np.uint8:
        raise ValueError(f"packed {kind} array {packed.shape} is no {outputs} x {inputs} matrix")
    if not packed.flags.c_contiguous or packed.shape[0] * BLOCK < outputs:
        raise ValueError("packed arrays must be contiguous and hold all outputs")
    return Matrix(address(packed), KINDS[kind].code, outputs, inputs)


def product(isa: str, matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """(rows, inputs) float32 -> (rows, outputs) float32 through quantised activations: one kernel alone."""
    kernels = library()
    assert not isinstance(kernels, str)
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty((len(x), matrix.outputs), np.float32)
    if not kernels.quatrain_product(isa.encode(), c.byref(matrix), address(x), len(x), address(out)):
        raise MemoryError(f"no memory, or no path {isa} on this machine")
    return out


def decode_rows(matrix: Matrix, ids: np.ndarray) -> np.ndarray:
    """Rows of a packed matrix as float32 (len(ids), inputs)."""
    kernels = library()
    assert not isinstance(kernels, str)
    ids = np.ascontiguousarray(ids, np.int32)
    out = np.empty((len(ids), matrix.inputs), np.float32)
    kernels.quatrain_decode_rows(c.byref(matrix), address(ids), len(ids), address(out))
    return out
