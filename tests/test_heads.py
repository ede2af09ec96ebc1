"""Draft heads: torch and native agree, files keep what they hold and refuse other trunks, decoding stays lossless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_native import TINY, tiny_tensors
from tiny import byte_vocabulary, tiny_weights

from quatrain.model import checkpoint, heads, native
from quatrain.model.api import Prompt, QuatrainError, Stop
from quatrain.model.config import ModelConfig
from quatrain.model.decode import rounds
from quatrain.model.draft import NoDraft
from quatrain.model.draft_length import DraftLengths
from quatrain.model.engine import LocalEngine
from quatrain.model.heads import HeadConfig, HeadDraft, HeadFile
from quatrain.model.native.head import NativeHead, gather_rows
from quatrain.model.native.layouts import KINDS
from quatrain.model.step_costs import DEFAULT
from quatrain.model.torch_head import TorchDrafter, TorchHead
from quatrain.model.transformer import Transformer

TRUNK = "5" * 64
needs_kernels = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


def head_config(trunk: ModelConfig, attends: tuple[int, ...] = (1,)) -> HeadConfig:
    shape = (trunk.width, trunk.heads, trunk.kv_heads, trunk.head_dim, 96, trunk.rms_eps, trunk.rope_theta)
    return HeadConfig((0, 1, trunk.layers), attends, *shape, rope_interleaved=trunk.rope_interleaved)


def random_head(config: HeadConfig, vocabulary: np.ndarray, seed: int = 0) -> HeadFile:
    random = np.random.default_rng(seed)
    weights = {name: random.normal(0, shape[-1] ** -0.5, shape) for name, shape in heads.shapes(config).items()}
    weights |= {name: np.ones(heads.shapes(config)[name]) for name in weights if name.endswith(("norm", "norms"))}
    packed = heads.pack({name: weight.astype(np.float32) for name, weight in weights.items()})
    return HeadFile(config, TRUNK, {"steps": 1}, packed | {"vocabulary": vocabulary.astype(np.int32)})


def native_trunk(isa: str | None = None) -> native.NativeTrunk:
    packed = native.pack(TINY, tiny_tensors(TINY))
    return native.NativeTrunk(TINY, packed, isa=isa, taps=(0, 1, TINY.layers))


def as_torch(trunk: native.NativeTrunk) -> Transformer:
    """A torch trunk that only lends its rows: those of the native one."""
    rows = torch.from_numpy(native.door.decode_rows(trunk.matrix("output"), np.arange(TINY.vocab)))
    weights = {"output.weight": rows, "output_norm.weight": torch.ones(TINY.width)}
    return Transformer(TINY, weights | {"blk.0.ffn_up.weight": rows}, (0, 1, TINY.layers))


class Past:
    """The native cache as torch reads one."""

    def __init__(self, storage: native.Storage) -> None:
        self.storage = storage

    def past(self, layer: int, length: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(part.astype(np.float32)) for part in self.storage.past(layer, length))


@needs_kernels
@pytest.mark.parametrize("isa", native.isa_paths())
@pytest.mark.parametrize("attends", [(), (1,), (0, 1)])
def test_native_and_torch_propose_the_same(isa: str, attends: tuple[int, ...]) -> None:
    trunk = native_trunk(isa)
    file = random_head(head_config(TINY, attends), np.arange(3, 173))
    storage = trunk.allocate(64)
    ids = np.random.default_rng(1).integers(0, TINY.vocab, 40).tolist()
    taps = trunk.forward(ids, 0, storage).taps
    assert taps is not None
    ours = NativeHead(file.config, file.weights, trunk)
    theirs = TorchDrafter(file, as_torch(trunk), Past(storage), 0.0)  # type: ignore[arg-type]
    same = 0
    for length in range(1, 40):
        mine, sure = ours.draft(taps[length - 1], ids[length], length, storage, 3, 0.0)
        other, surely = theirs(taps[length - 1], ids[length], length, 3)
        assert len(mine) == len(other) == 3
        same += mine[0] == other[0]
        if mine == other:
            np.testing.assert_allclose(sure, surely, rtol=0.1)
    assert same >= 35  # int8 activations turn a near tie now and then


@needs_kernels
def test_a_draft_ends_where_the_head_is_unsure() -> None:
    trunk, storage = native_trunk(), native_trunk().allocate(32)
    file = random_head(head_config(TINY), np.arange(TINY.vocab))
    step = trunk.forward([1, 2, 3], 0, storage)
    assert step.taps is not None
    head = NativeHead(file.config, file.weights, trunk)
    ids, probs = head.draft(step.taps[-1], 5, 3, storage, 8, 0.0)
    assert len(ids) == 8
    joint = np.cumprod(probs)
    for floor in (joint[0] * 1.01, joint[2] * 0.99, joint[5] * 0.99):
        assert head.draft(step.taps[-1], 5, 3, storage, 8, float(floor))[0] == ids[: int((joint >= floor).sum())]
    assert head.draft(step.taps[-1], 5, 3, storage, 0, 0.0) == ([], [])


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_gathered_rows_are_the_rows(kind: str) -> None:
    from test_native import packed, random_levels

    levels = random_levels(np.random.default_rng(3), kind, 200, 96)
    matrix, array = packed(levels)
    ids = np.array([0, 5, 31, 32, 33, 64, 100, 199], np.int32)
    gathered = gather_rows(array, kind, ids, 96)
    chosen = native.door.matrix_of(gathered, kind, len(ids), 96)
    expected = native.door.decode_rows(matrix, ids)
    assert np.array_equal(native.door.decode_rows(chosen, np.arange(len(ids))), expected)


def parallel(bias: int) -> HeadFile:
    config = replace(head_config(TINY_TORCH), design="parallel", count=3, bias=bias)
    random = np.random.default_rng(bias)
    weights = {n: random.normal(0, s[-1] ** -0.5, s) for n, s in heads.shapes(config, 262).items()}
    packed = heads.pack({name: weight.astype(np.float32) for name, weight in weights.items()})
    return HeadFile(config, TRUNK, {}, packed | {"vocabulary": np.arange(262, dtype=np.int32)})


@pytest.mark.parametrize("bias", [0, 32])
def test_parallel_heads_are_lossless_and_few(bias: int, tmp_path: Path) -> None:
    heads.save(parallel(bias), tmp_path / "head.safetensors")
    engine = torch_engine(heads.load(tmp_path / "head.safetensors", TRUNK))
    assert decoded(engine, "the first and", head=True) == decoded(torch_engine(None), "the first and", head=False)
    assert engine.head is not None
    engine.head.observe(0, np.ones((9, 3, 64), np.float32))
    assert len(engine.head.propose(list(range(10)), 10, 8).tokens) == 3
    first = engine.head.propose([*range(9), 70], 10, 8)
    again = engine.head.propose([*range(9), 71], 10, 8)
    assert (first == again) == (bias == 0)  # without a bias the last token is not looked at


def torch_engine(file: HeadFile | None, floor: float = 0.0) -> LocalEngine:
    vocabulary = byte_vocabulary((b"ab", b"he"))
    config = replace(TINY_TORCH, vocab=vocabulary.size)
    trunk = Transformer(config, tiny_weights(config, 4), file.config.taps if file else ())
    over = heads.source_over(file, trunk, floor) if file else None
    return LocalEngine(trunk, vocabulary, "tiny", capacity=256, head=over)


TINY_TORCH = ModelConfig(2, 64, 4, 2, 16, 96, 262, max_positions=512, qkv_bias=True)


def decoded(engine: LocalEngine, prompt: str, head: bool) -> list[int]:
    ids = tuple(engine.vocabulary.encode(prompt))
    source = engine.head if head and engine.head else NoDraft()
    lengths = DraftLengths(DEFAULT) if head else None
    stream = rounds(engine.trunk, engine.cache, engine.vocabulary, Prompt(ids), Stop(), 24, source, 4, lengths)
    return [token for r in stream for token in r.tokens]


@pytest.mark.parametrize("seed", range(4))
def test_decoding_with_a_head_is_lossless(seed: int) -> None:
    engine = torch_engine(random_head(head_config(TINY_TORCH), np.arange(262), seed))
    for prompt in ("the first", "the first and", "then another one"):
        plain = decoded(torch_engine(None), prompt, head=False)
        assert decoded(engine, prompt, head=True) == plain


@needs_kernels
def test_native_decoding_with_a_head_is_lossless() -> None:
    file = random_head(head_config(TINY), np.arange(TINY.vocab))
    with_head, without = native_trunk(), native.NativeTrunk(TINY, native.pack(TINY, tiny_tensors(TINY)))
    vocabulary = byte_vocabulary()
    vocabulary.special = frozenset()
    source = heads.source_over(file, with_head, 0.0)
    engines = [
        LocalEngine(with_head, vocabulary, capacity=128, head=source),
        LocalEngine(without, vocabulary, capacity=128),
    ]
    drafted = 0
    for start in range(8):
        prompt = Prompt(tuple(range(start * 9 + 1, start * 9 + 20)))
        texts = []
        for engine in engines:
            used = engine.head or NoDraft()
            stream = list(rounds(engine.trunk, engine.cache, vocabulary, prompt, Stop(), 24, used, 4))
            texts.append([token for r in stream for token in r.tokens])
            drafted += sum(r.drafted for r in stream)
        assert texts[0] == texts[1]
    assert drafted > 100


def test_a_source_waits_for_the_state_of_the_last_token() -> None:
    source = HeadDraft(lambda state, token, length, limit: ([token + 1] * limit, [0.5] * limit))
    assert source.propose([1, 2, 3], 3, 4).tokens == ()
    source.observe(0, np.zeros((2, 3, 8), np.float32))
    assert source.propose([1, 2, 3], 3, 2).tokens == (4, 4)
    assert source.propose([1, 2, 3, 4], 3, 2).tokens == ()  # token 3 was not observed
    source.observe(2, np.zeros((0, 3, 8), np.float32))
    assert source.propose([1, 2, 3], 3, 1).tokens == (4,)


def test_files_keep_what_they_hold(tmp_path: Path) -> None:
    file = random_head(head_config(TINY_TORCH), np.arange(7, 99))
    heads.save(file, tmp_path / "head.safetensors")
    again = heads.load(tmp_path / "head.safetensors", TRUNK)
    assert again.config == file.config and again.about == file.about
    assert again.weights.keys() == file.weights.keys()
    for name, array in again.weights.items():
        assert np.array_equal(array, file.weights[name]), name
    assert not list(tmp_path.glob("*.partial"))


def test_quantised_weights_are_near() -> None:
    matrix = np.random.default_rng(5).normal(0, 1, (8, 64)).astype(np.float32)
    config = head_config(TINY_TORCH)
    level, scale = heads.quantise(matrix)
    file = HeadFile(config, TRUNK, {}, {"fuse": level, "fuse.scale": scale})
    assert np.abs(heads.dense(file, "fuse") - matrix).max() < np.abs(matrix).max() / 200
    assert heads.quantise(np.zeros((2, 32), np.float32))[0].any() == False  # noqa: E712


def test_refusals(tmp_path: Path) -> None:
    file = random_head(head_config(TINY_TORCH), np.arange(50))
    path = tmp_path / "head.safetensors"
    heads.save(file, path)
    with pytest.raises(QuatrainError, match=r"trained for another model.*quatrain train heads"):
        heads.load(path, "6" * 64)
    with pytest.raises(QuatrainError, match="cannot be read"):
        heads.load(tmp_path / "none.safetensors", TRUNK)
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(QuatrainError, match="cannot be read"):
        heads.load(tmp_path / "text.safetensors", TRUNK)
    less = {name: array for name, array in file.weights.items() if name != "gate"}
    heads.save(HeadFile(file.config, TRUNK, {}, less), path)
    with pytest.raises(QuatrainError, match="gate is missing"):
        heads.load(path, TRUNK)
    assert heads.found(TRUNK, "none") is None
    assert heads.found("7" * 64, heads.SHIPPED) is None


def test_a_head_begins_by_repeating_the_trunk() -> None:
    from quatrain.model.train.head_run import fresh

    config = head_config(TINY_TORCH)
    head = fresh(config, 50, 2.0, 0)
    taps = torch.randn(1, 3, 3, config.width)
    assert isinstance(head, TorchHead)
    last = taps[:, :, -1]
    torch.testing.assert_close(
        head.fuse(taps), last * last.square().mean(-1, keepdim=True).rsqrt(), rtol=1e-3, atol=1e-4
    )


def test_checkpoint_names_the_trunk() -> None:
    assert checkpoint.trunk_of(checkpoint.Converted(Path("."), "qwen2.5-coder-0.5b", "native")).startswith("1d9614638d")
