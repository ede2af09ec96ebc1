"""Steps of fixed shape: the same logits as the plain transformer, on the CPU without graphs and on a GPU with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, tiny_weights

from quatrain.model import gpu
from quatrain.model.cuda import CudaTransformer, StaticStorage, StaticTransformer
from quatrain.model.transformer import Transformer

IDS = np.random.default_rng(4).integers(0, TINY.vocab, 80).tolist()
CONFIGS = {
    "shared heads": TINY,
    "own heads": replace(TINY, kv_heads=4),
    "interleaved": replace(TINY, qkv_bias=False, rope_interleaved=True),
}


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(CONFIGS)), st.integers(0, 60), st.integers(1, 9))
def test_a_static_step_equals_the_plain_transformer(name: str, start: int, rows: int) -> None:
    config = CONFIGS[name]
    weights = tiny_weights(config, seed=2)
    plain, static = Transformer(config, weights), StaticTransformer(config, weights)
    expected, got = plain.allocate(80), static.allocate(80)
    if start:
        plain.forward(IDS[:start], 0, expected)
        static.forward(IDS[:start], 0, got)
    piece = IDS[start : start + rows]
    a = plain.forward(piece, start, expected, range(rows))
    b = static.forward(piece, start, got, range(rows))
    np.testing.assert_allclose(b.logits, a.logits, atol=2e-5)
    np.testing.assert_array_equal(b.best, a.best)
    np.testing.assert_allclose(b.logprob, a.logprob, atol=1e-4)
    np.testing.assert_allclose(got.keys[:, :, : start + rows], expected.keys[:, :, : start + rows], atol=1e-5)


def test_what_rejected_drafts_left_behind_is_not_seen() -> None:
    static = StaticTransformer(TINY, tiny_weights(TINY))
    used, fresh = static.allocate(64), static.allocate(64)
    static.forward(IDS[:5] + IDS[40:44], 0, used)
    after = static.forward(IDS[5:7], 5, used).logits
    static.forward(IDS[:5], 0, fresh)
    np.testing.assert_allclose(after, static.forward(IDS[5:7], 5, fresh).logits, atol=1e-5)


def test_a_step_is_recorded_once_for_each_number_of_rows() -> None:
    static = StaticTransformer(TINY, tiny_weights(TINY), most_rows=4)
    storage = static.allocate(64)
    for start, rows in ((0, 3), (3, 1), (4, 3), (7, 5), (12, 1)):
        static.forward(IDS[start : start + rows], start, storage)
    assert isinstance(storage, StaticStorage) and sorted(storage.steps) == [1, 3]


def test_rows_default_and_a_full_cache() -> None:
    static = StaticTransformer(TINY, tiny_weights(TINY))
    storage = static.allocate(8)
    every = static.forward(IDS[:4], 0, storage, range(4))
    some = static.forward(IDS[:4], 0, storage, (1, 3))
    np.testing.assert_array_equal(some.logits, every.logits[[1, 3]])
    np.testing.assert_array_equal(static.forward(IDS[:4], 0, storage).logits, every.logits[[3]])
    with pytest.raises(ValueError, match="exceed the cache"):
        static.forward(IDS[:4], 5, storage)


def test_tapped_steps_run_as_they_come() -> None:
    weights = tiny_weights(TINY)
    static = StaticTransformer(TINY, weights, taps=(0, 2))
    step = static.forward(IDS[:3], 0, static.allocate(8))
    plain = Transformer(TINY, weights, taps=(0, 2))
    expected = plain.forward(IDS[:3], 0, plain.allocate(8))
    assert step.taps is not None and expected.taps is not None
    np.testing.assert_allclose(step.taps, expected.taps, atol=1e-5)


def test_no_driver_means_no_import_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "torch_has_cuda", lambda: pytest.fail("asked without a driver"))
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    assert gpu.cuda_available() is False


def test_a_cpu_build_is_known_by_its_libraries() -> None:
    assert gpu.torch_has_cuda() == (torch.version.cuda is not None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_recorded_steps_equal_plain_ones_on_a_gpu(dtype: torch.dtype) -> None:
    weights = {name: tensor.to("cuda", dtype) for name, tensor in tiny_weights(TINY).items()}
    plain, graphs = Transformer(TINY, weights), CudaTransformer(TINY, weights)
    expected, got = plain.allocate(80), graphs.allocate(80)
    assert sorted(got.steps) == list(range(1, 10))
    at, tolerance = 0, 1e-3 if dtype == torch.float32 else 0.15
    for rows in (20, 1, 9, 4, 1, 2, 9, 3):
        a = plain.forward(IDS[at : at + rows], at, expected, range(rows))
        b = graphs.forward(IDS[at : at + rows], at, got, range(rows))
        np.testing.assert_allclose(b.logits, a.logits, atol=tolerance)
        at += rows


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_replays_do_not_change_earlier_answers() -> None:
    weights = {name: tensor.cuda() for name, tensor in tiny_weights(TINY).items()}
    graphs = CudaTransformer(TINY, weights)
    storage = graphs.allocate(80)
    first = graphs.forward(IDS[:3], 0, storage, range(3))
    kept = first.logits.copy()
    graphs.forward(IDS[3:6], 3, storage, range(3))
    np.testing.assert_array_equal(first.logits, kept)
