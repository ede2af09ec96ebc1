"""The native kernels: against float64, against each other, and the law that rows do not see each other."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from quatrain.model import native
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.native import door
from quatrain.model.native.gguf_levels import quantise, read_levels
from quatrain.model.native.layouts import KINDS, Levels, assemble

pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))

PATHS = native.isa_paths()
ROWS = (*range(1, 17), 33, 64, 100)
TINY = ModelConfig(
    layers=2, width=64, heads=6, kv_heads=2, head_dim=32, ffn=96, vocab=203, rope_theta=1e4, qkv_bias=True
)


def random_levels(rng: np.random.Generator, kind: str, outputs: int, inputs: int) -> Levels:
    row = KINDS[kind]
    level = rng.integers(0, 1 << row.bits, (outputs, inputs), dtype=np.uint16).astype(np.uint8)
    scale = rng.uniform(1e-3, 2e-2, (outputs, inputs // 32)).astype(np.float16)
    second = rng.uniform(1e-3, 2e-1, scale.shape).astype(np.float16) if row.second else None
    return Levels(row, level, scale, second)


def as_floats(matrix: Levels) -> np.ndarray:
    """What the levels mean, float64 (outputs, inputs)."""
    kind, level = matrix.kind, matrix.level.astype(np.float64).reshape(len(matrix.level), -1, 32)
    scale = matrix.scale.astype(np.float64)[..., None]
    second = None if matrix.second is None else matrix.second.astype(np.float64)[..., None]
    if kind.affine:
        assert second is not None
        return (level * scale - second).reshape(matrix.level.shape)
    if second is not None:
        scale = np.concatenate([np.repeat(scale, 16, -1), np.repeat(second, 16, -1)], axis=-1)
    return ((level - (1 << (kind.bits - 1))) * scale).reshape(matrix.level.shape)


def rounded(x: np.ndarray) -> np.ndarray:
    """Activations as the kernels see them: int8 with a scale per 32, float64."""
    groups = x.astype(np.float32).reshape(len(x), -1, 32)
    top = np.abs(groups).max(axis=-1, keepdims=True)
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top >= 1e-30)
    scale = np.where(top >= 1e-30, top * np.float32(1 / 127), 0).astype(np.float64)
    return (np.rint(groups * inverse) * scale).reshape(x.shape)


def packed(levels: Levels) -> tuple[door.Matrix, np.ndarray]:
    array = assemble(levels)
    return door.matrix_of(array, levels.kind.name, *levels.level.shape), array


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outputs=st.integers(1, 70),
    groups=st.integers(1, 9),
    rows=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_product_is_exact(isa, kind, outputs, groups, rows, seed):
    rng = np.random.default_rng(seed)
    levels = random_levels(rng, kind, outputs, groups * 32)
    matrix, _keep = packed(levels)
    x = rng.standard_normal((rows, groups * 32)).astype(np.float32)
    expected = rounded(x) @ as_floats(levels).T
    magnitude = np.abs(rounded(x)) @ np.abs(as_floats(levels)).T
    assert np.all(np.abs(door.product(isa, matrix, x) - expected) <= 4e-6 * magnitude + 1e-30)


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_product_does_not_saturate(isa, kind):
    """The greatest and least levels against the greatest activations of either sign."""
    row = KINDS[kind]
    for level in (0, (1 << row.bits) - 1):
        for sign in (1, -1):
            levels = random_levels(np.random.default_rng(0), kind, 16, 64)
            levels = Levels(row, np.full((16, 64), level, np.uint8), levels.scale, levels.second)
            matrix, _keep = packed(levels)
            x = np.full((3, 64), sign * 5.0, np.float32)
            np.testing.assert_allclose(door.product(isa, matrix, x), rounded(x) @ as_floats(levels).T, rtol=1e-5)


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_see_each_other(isa, kind):
    rng = np.random.default_rng(1)
    matrix, _keep = packed(random_levels(rng, kind, 48, 96))
    x = rng.standard_normal((100, 96)).astype(np.float32)
    alone = np.concatenate([door.product(isa, matrix, x[i : i + 1]) for i in range(100)])
    for rows in ROWS:
        assert door.product(isa, matrix, x[:rows]).tobytes() == alone[:rows].tobytes()


@pytest.mark.parametrize("isa", PATHS)
def test_extreme_activations(isa):
    rng = np.random.default_rng(2)
    levels = random_levels(rng, "q5", 20, 64)
    matrix, _keep = packed(levels)
    zero = door.product(isa, matrix, np.zeros((2, 64), np.float32))
    assert not zero.any()
    tiny = door.product(isa, matrix, np.full((1, 64), 1e-40, np.float32))
    assert not tiny.any()
    large = rng.standard_normal((2, 64)).astype(np.float32) * 1e30
    np.testing.assert_allclose(
        door.product(isa, matrix, large), rounded(large) @ as_floats(levels).T, rtol=1e-4, atol=1e26
    )
    for poison in (np.nan, np.inf, -np.inf):
        x = rng.standard_normal((3, 64)).astype(np.float32)
        clean = door.product(isa, matrix, x)
        x[1, 40] = poison
        got = door.product(isa, matrix, x)
        assert not np.isfinite(got[1]).any()
        assert got[[0, 2]].tobytes() == clean[[0, 2]].tobytes()


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_decoded_rows(isa, kind):
    levels = random_levels(np.random.default_rng(3), kind, 37, 96)
    matrix, _keep = packed(levels)
    ids = np.array([0, 36, 15, 16, 3])
    np.testing.assert_allclose(door.decode_rows(matrix, ids), as_floats(levels)[ids], rtol=1e-6, atol=1e-7)


BLOCK_BYTES = {Type.Q4_K: (144, 256), Type.Q5_K: (176, 256), Type.Q6_K: (210, 256)}


@dataclass
class Stored:
    """A tensor as a GGUF reader gives it."""

    tensor_type: Type
    data: np.ndarray
    shape: np.ndarray


def stored(values: np.ndarray, tensor_type: Type) -> Stored:
    """A tensor as a GGUF reader gives it. K-quants, which `gguf` cannot write, get random blocks."""
    if tensor_type in BLOCK_BYTES:
        size, inputs = BLOCK_BYTES[tensor_type]
        rng = np.random.default_rng(abs(int(values.sum() * 1e3)))
        data = rng.integers(0, 256, (len(values), values.shape[1] // inputs, size), dtype=np.uint8)
        half = rng.uniform(1e-4, 1e-3, (*data.shape[:2], 2)).astype(np.float16).view(np.uint8)
        if tensor_type == Type.Q6_K:
            data[..., -2:] = half[..., :2]
        else:
            data[..., :4] = half
        data = data.reshape(len(values), -1)
    else:
        data = quantize(values, tensor_type)
    return Stored(tensor_type=tensor_type, data=data, shape=np.array(values.shape[::-1]))


TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q5_0, Type.Q5_1, Type.Q4_0, Type.Q4_1, *BLOCK_BYTES]


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
def test_gguf_blocks_keep_their_values(tensor_type):
    values = np.random.default_rng(4).standard_normal((21, 512)).astype(np.float32)
    tensor = stored(values, tensor_type)
    expected = dequantize(tensor.data, tensor_type)
    levels = read_levels(tensor, slice(0, 21))
    got = as_floats(levels)
    spread = np.abs(expected).max()
    exact = tensor_type not in (Type.F32, Type.F16, Type.BF16)
    np.testing.assert_allclose(got, expected, atol=spread * (1.5e-3 if exact else 6e-3))
    if tensor_type in (Type.Q8_0, Type.Q5_0, Type.Q4_0):
        assert np.array_equal(got.astype(np.float32), expected)


def test_quantising_zeros_gives_zeros():
    assert not as_floats(quantise(np.zeros((16, 64), np.float32))).any()


def tiny_tensors(config: ModelConfig, seed: int = 0, tied: bool = True) -> dict[str, Stored]:
    """A random model as GGUF tensors, in several stored types."""
    rng = np.random.default_rng(seed)
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    tensors = {}

    def matrix(name, outputs, inputs, tensor_type):
        values = rng.standard_normal((outputs, inputs)).astype(np.float32) / math.sqrt(inputs)
        tensors[f"{name}.weight"] = stored(values, tensor_type)

    def vector(name, length, middle):
        values = (middle + 0.2 * rng.standard_normal(length)).astype(np.float32)
        tensors[name] = Stored(tensor_type=Type.F32, data=values, shape=np.array([length]))

    for i in range(config.layers):
        matrix(f"blk.{i}.attn_q", q, config.width, Type.Q5_0)
        matrix(f"blk.{i}.attn_k", kv, config.width, Type.Q8_0)
        matrix(f"blk.{i}.attn_v", kv, config.width, Type.F16)
        matrix(f"blk.{i}.attn_output", config.width, q, Type.Q4_1)
        matrix(f"blk.{i}.ffn_gate", config.ffn, config.width, Type.Q5_0)
        matrix(f"blk.{i}.ffn_up", config.ffn, config.width, Type.Q4_0)
        matrix(f"blk.{i}.ffn_down", config.width, config.ffn, Type.Q5_1)
        vector(f"blk.{i}.attn_norm.weight", config.width, 1.0)
        vector(f"blk.{i}.ffn_norm.weight", config.width, 1.0)
        for name, length in (("q", q), ("k", kv), ("v", kv)) if config.qkv_bias else ():
            vector(f"blk.{i}.attn_{name}.bias", length, 0.0)
    vector("output_norm.weight", config.width, 1.0)
    matrix("token_embd", config.vocab, config.width, Type.Q8_0)
    if not tied:
        matrix("output", config.vocab, config.width, Type.Q8_0)
    return tensors


def reference(config: ModelConfig, tensors: dict[str, Stored], ids: list[int]) -> list[np.ndarray]:
    """The same transformer in float64, straight from the definition: states after each layer, then logits."""
    w = {k: dequantize(t.data, t.tensor_type).astype(np.float64) for k, t in tensors.items()}
    n, half = len(ids), config.head_dim // 2
    angle = np.arange(n)[:, None] * config.rope_theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.rms_eps) * weight

    def turn(x):  # (n, heads, head_dim)
        if config.rope_interleaved:
            a, b = x[..., ::2], x[..., 1::2]
            return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    x = w["token_embd.weight"][ids]
    states = [x]
    for i in range(config.layers):
        p = f"blk.{i}."
        h = norm(x, w[p + "attn_norm.weight"])
        q, k, v = (h @ w[f"{p}attn_{s}.weight"].T + w.get(f"{p}attn_{s}.bias", 0.0) for s in "qkv")
        q, k = (turn(y.reshape(n, -1, config.head_dim)) for y in (q, k))
        k, v = (np.repeat(y.reshape(n, config.kv_heads, -1), config.heads // config.kv_heads, 1) for y in (k, v))
        score = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(config.head_dim)
        score = np.where(np.tril(np.ones((n, n), bool)), score, -np.inf)
        score = np.exp(score - score.max(-1, keepdims=True))
        score /= score.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", score, v).reshape(n, -1) @ w[p + "attn_output.weight"].T
        h = norm(x, w[p + "ffn_norm.weight"])
        gate = h @ w[p + "ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[p + "ffn_up.weight"].T)) @ w[p + "ffn_down.weight"].T
        states.append(x)
    final = norm(x, w["output_norm.weight"])
    states[-1] = final
    return [*states, final @ w.get("output.weight", w["token_embd.weight"]).T]


CONFIGS = {
    "qwen": TINY,
    "llama": ModelConfig(2, 96, 3, 3, 64, 64, 130, rope_interleaved=True),
    "wide_heads": ModelConfig(1, 32, 9, 1, 128, 32, 40),
    "odd_groups": ModelConfig(1, 160, 4, 2, 96, 224, 17, qkv_bias=True),
}


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("name", CONFIGS)
def test_forward_against_float64(isa, name):
    config = CONFIGS[name]
    tensors = tiny_tensors(config, tied=name != "llama")
    trunk = native.NativeTrunk(config, native.pack(config, tensors), 2, isa, taps=(0, 1, config.layers))
    ids = np.random.default_rng(5).integers(0, config.vocab, 37).tolist()
    step = trunk.forward(ids, 0, trunk.allocate(40), range(37))
    *states, logits = reference(config, tensors, ids)
    assert step.taps is not None
    for tap, expected in enumerate((states[0], states[1], states[-1])):
        error = np.linalg.norm(step.taps[:, tap] - expected) / np.linalg.norm(expected)
        assert error < 0.03, (tap, error)
    assert np.linalg.norm(step.logits - logits) < 0.03 * np.linalg.norm(logits)
    assert step.best.tolist() == step.logits.argmax(-1).tolist()
    own = step.logits.astype(np.float64)
    top = own.max(-1)
    np.testing.assert_allclose(step.logprob, -np.log(np.exp(own - top[:, None]).sum(-1)), atol=2e-6)


@pytest.fixture(scope="module")
def tiny() -> dict[str, np.ndarray]:
    return native.pack(TINY, tiny_tensors(TINY))


@pytest.mark.parametrize("isa", PATHS)
def test_forward_is_the_same_however_it_is_cut(isa, tiny):
    """The law: one row at a time, in pieces of any size, or all at once; with one thread or three."""
    ids = np.random.default_rng(6).integers(0, TINY.vocab, 300).tolist()
    whole = native.NativeTrunk(TINY, tiny, 1, isa, taps=(1,))
    all_at_once = whole.forward(ids, 0, whole.allocate(300), range(300))
    for threads in (1, 3):
        trunk = native.NativeTrunk(TINY, tiny, threads, isa, taps=(1,))
        storage, at = trunk.allocate(300), 0
        for rows in (*ROWS[:16], 64, 100):
            piece = slice(at, min(at + rows, 300))
            step = trunk.forward(ids[piece], at, storage, range(piece.stop - at))
            assert step.taps is not None and all_at_once.taps is not None
            for mine, expected in zip(
                (step.logits, step.best, step.logprob, step.taps),
                (all_at_once.logits, all_at_once.best, all_at_once.logprob, all_at_once.taps),
                strict=True,
            ):
                assert mine.tobytes() == expected[piece].tobytes()
            at = piece.stop
        assert at == 300


@pytest.mark.parametrize("isa", PATHS)
def test_cut_back_and_extended_cache_equals_a_fresh_one(isa, tiny):
    rng = np.random.default_rng(7)
    kept, wrong, right = (rng.integers(0, TINY.vocab, n).tolist() for n in (21, 9, 6))
    trunk = native.NativeTrunk(TINY, tiny, isa=isa)
    used, fresh = trunk.allocate(64), trunk.allocate(64)
    used.keys[:], used.values[:] = np.nan, np.nan  # what lies behind the end must not matter
    trunk.forward(kept + wrong, 0, used)
    again = trunk.forward(right, len(kept), used)
    expected = trunk.forward(kept + right, 0, fresh)
    assert again.logits.tobytes() == expected.logits.tobytes()


@pytest.mark.parametrize("isa", PATHS)
def test_asked_rows_and_chunks(isa, tiny):
    ids = np.random.default_rng(8).integers(0, TINY.vocab, 2 * native.CHUNK + 5).tolist()
    trunk = native.NativeTrunk(TINY, tiny, isa=isa)
    storage = trunk.allocate(len(ids))
    every = trunk.forward(ids, 0, storage, range(len(ids)))
    asked = [0, 255, 256, 400, len(ids) - 1]
    some = trunk.forward(ids, 0, storage, asked)
    assert some.logits.tobytes() == every.logits[asked].tobytes()
    assert some.best.tolist() == every.best[asked].tolist()
    assert trunk.forward(ids, 0, storage, ()).logits.shape == (0, TINY.vocab)
    assert trunk.forward(ids, 0, storage).best.tolist() == [every.best[-1]]


@pytest.mark.parametrize("isa", PATHS)
def test_poisoned_weights_do_no_harm(isa, tiny):
    poisoned = dict(tiny, **{"layers.0.attn_norm": np.full(TINY.width, np.nan, np.float32)})
    trunk = native.NativeTrunk(TINY, poisoned, isa=isa)
    step = trunk.forward([1, 2, 3], 0, trunk.allocate(16), (0, 2))
    assert np.isnan(step.logits).all()
    assert ((step.best >= 0) & (step.best < TINY.vocab)).all()


def test_ties_go_to_the_lowest_id():
    tensors = tiny_tensors(TINY)
    tensors["token_embd.weight"].data[:] = tensors["token_embd.weight"].data[:1]
    for isa in PATHS:
        trunk = native.NativeTrunk(TINY, native.pack(TINY, tensors), isa=isa)
        assert trunk.forward([5], 0, trunk.allocate(16)).best.tolist() == [0]


def test_paths_agree(tiny):
    ids = list(range(40))
    steps = []
    for isa in PATHS:
        trunk = native.NativeTrunk(TINY, tiny, isa=isa)
        steps.append(trunk.forward(ids, 0, trunk.allocate(48), range(40)).logits)
    for step in steps[:-1]:
        assert np.linalg.norm(step - steps[-1]) < 0.02 * np.linalg.norm(steps[-1])


def test_file_on_disk_equals_arrays_in_memory(tiny, tmp_path):
    path = tmp_path / "packed.safetensors"
    native.write(TINY, tiny_tensors(TINY), path)
    mapped = native.open_packed(path)
    assert mapped.keys() == tiny.keys()
    for name, array in mapped.items():
        assert np.array_equal(array, tiny[name]), name
        assert array.ctypes.data % 64 == 0
    assert load_file(path).keys() == tiny.keys()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(QuatrainError, match="damaged"):
        native.open_packed(path)


def test_refusals(tiny):
    trunk = native.NativeTrunk(TINY, tiny)
    storage = trunk.allocate(16)
    for ids, start, rows in (
        ([], 0, None),
        ([203], 0, None),
        ([-1], 0, None),
        ([1], 16, None),
        ([1], -1, None),
    ):
        with pytest.raises(ValueError):
            trunk.forward(ids, start, storage, rows)
    for rows in ([1], [-1], [0, 0]):
        with pytest.raises(ValueError, match="rows"):
            trunk.forward([1], 0, storage, rows)
    with pytest.raises(QuatrainError, match="available"):
        native.NativeTrunk(TINY, tiny, isa="sse9")
    with pytest.raises(QuatrainError, match="head dimension"):
        native.pack(ModelConfig(1, 64, 4, 2, 80, 96, 32), {})
    with pytest.raises(QuatrainError, match="lacks"):
        native.pack(TINY, {})
    with pytest.raises(ValueError, match="lack"):
        native.NativeTrunk(TINY, {k: v for k, v in tiny.items() if "output" not in k})
    trunk.close()
    with pytest.raises(ValueError, match="closed"):
        trunk.forward([1], 0, storage)


def test_counters(tiny):
    trunk = native.NativeTrunk(TINY, tiny)
    assert trunk.bytes_per_step == sum(array.nbytes for array in tiny.values())
    assert trunk.phase_ms() == {}
    trunk.measure()
    trunk.forward([1, 2], 0, trunk.allocate(16))
    assert set(trunk.phase_ms()) == set(door.PHASES) and sum(trunk.phase_ms().values()) > 0


def test_embedding_rows(tiny):
    tensors = tiny_tensors(TINY)
    trunk = native.NativeTrunk(TINY, tiny)
    expected = dequantize(tensors["token_embd.weight"].data, Type.Q8_0)[[7, 200]]
    np.testing.assert_allclose(trunk.embed([7, 200]), expected, rtol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_works_in_a_forked_child(tiny):
    trunk = native.NativeTrunk(TINY, tiny, threads=3)
    storage = trunk.allocate(16)
    expected = trunk.forward([1, 2, 3], 0, storage).logits.tobytes()
    child = os.fork()
    if child == 0:
        os._exit(0 if trunk.forward([1, 2, 3], 0, storage).logits.tobytes() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_idle_threads_sleep(tiny):
    trunk = native.NativeTrunk(TINY, tiny, threads=4)
    trunk.forward([1], 0, trunk.allocate(16))
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02


HERE = Path(__file__).parent
SOURCES = HERE.parent / "model" / "native" / "c"


@pytest.mark.parametrize(
    ("compiler", "flags", "run"),
    [("cc", [], []), ("aarch64-linux-gnu-gcc", ["-static"], ["qemu-aarch64"])],
    ids=["here", "neon"],
)
def test_paths_without_python(compiler, flags, run, tmp_path):
    """The NEON path under emulation; the same program on this machine shows that the program is right."""
    if missing := [tool for tool in (compiler, *run) if not shutil.which(tool)]:
        pytest.skip(f"{missing[0]} is not installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)")
    program = tmp_path / "compare_paths"
    files = [str(HERE / "compare_paths.c"), *map(str, SOURCES.glob("path_*.c")), str(SOURCES / "cpu.c")]
    options = [
        "-std=gnu11",
        "-O1",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
        *flags,
        "-I",
        str(SOURCES),
    ]
    subprocess.run([compiler, *options, *files, "-lm", "-o", str(program)], check=True)
    result = subprocess.run([*run, str(program)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ("neon_dot" in result.stdout) == bool(run) or platform.machine() in ("aarch64", "arm64")


def test_importing_costs_no_torch():
    code = "import quatrain.model.native, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
