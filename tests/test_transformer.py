"""The transformer against an independent implementation, and its cache against a fresh prefill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_trunk, tiny_weights

from quatrain.model.config import ModelConfig
from quatrain.model.transformer import Transformer

transformers = pytest.importorskip("transformers")
LLAMA = replace(TINY, qkv_bias=False, rope_interleaved=True)
NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def reference(config: ModelConfig, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The same network in `transformers`."""
    family = "Llama" if config.rope_interleaved else "Qwen2"
    settings = getattr(transformers, f"{family}Config")(
        vocab_size=config.vocab,
        hidden_size=config.width,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=config.rms_eps,
        rope_theta=config.rope_theta,
        tie_word_embeddings=False,
    )
    model = getattr(transformers, f"{family}ForCausalLM")(settings).eval()
    state = {
        "model.embed_tokens.weight": weights["output.weight"],
        "lm_head.weight": weights["output.weight"],
        "model.norm.weight": weights["output_norm.weight"],
    }
    for name, tensor in weights.items():
        if name.startswith("blk."):
            _, layer, part, kind = name.split(".")
            state[f"model.layers.{layer}.{NAMES[part]}.{kind}"] = unpermuted(config, part, tensor)
    model.load_state_dict(state)
    return model


def unpermuted(config: ModelConfig, part: str, tensor: torch.Tensor) -> torch.Tensor:
    """Llama GGUF files interleave the rotary pairs of q and k; the reference wants halves."""
    if not config.rope_interleaved or part not in ("attn_q", "attn_k"):
        return tensor
    return tensor.view(-1, config.head_dim // 2, 2, config.width).transpose(1, 2).reshape(tensor.shape)


@pytest.mark.parametrize("config", [TINY, LLAMA], ids=["qwen2", "llama"])
def test_logits_equal_the_reference(config: ModelConfig) -> None:
    weights = tiny_weights(config, seed=3)
    ids = torch.randint(0, config.vocab, (37,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.inference_mode():
        expected = reference(config, weights)(torch.tensor([ids])).logits[0].numpy()
    trunk = Transformer(config, weights)
    step = trunk.forward(ids, 0, trunk.allocate(64), range(len(ids)))
    np.testing.assert_allclose(step.logits, expected, atol=2e-4, rtol=2e-4)
    assert (step.best == expected.argmax(-1)).all()
    logsum = torch.logsumexp(torch.tensor(expected), -1).numpy()
    np.testing.assert_allclose(step.logprob, expected.max(-1) - logsum, atol=2e-4)


def test_pieces_equal_one_pass() -> None:
    trunk = tiny_trunk()
    ids = list(range(40, 90))
    whole = trunk.forward(ids, 0, trunk.allocate(64), range(50)).logits
    storage = trunk.allocate(64)
    parts = [trunk.forward(ids[a:b], a, storage, range(b - a)).logits for a, b in ((0, 7), (7, 8), (8, 50))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_overwriting_a_rejected_tail_equals_a_fresh_prefill() -> None:
    trunk = tiny_trunk()
    storage = trunk.allocate(64)
    trunk.forward([1, 2, 3, 9, 9, 9], 0, storage)
    after = trunk.forward([4, 5], 3, storage).logits
    fresh = trunk.forward([1, 2, 3, 4, 5], 0, trunk.allocate(64)).logits
    np.testing.assert_allclose(after, fresh, atol=1e-5)


def test_taps_are_the_states_after_layers() -> None:
    weights = tiny_weights(TINY)
    trunk = Transformer(TINY, weights, taps=(0, 1, 2))
    step = trunk.forward([1, 2, 3], 0, trunk.allocate(8))
    assert step.taps is not None and step.taps.shape == (3, 3, TINY.width)
    np.testing.assert_array_equal(step.taps[:, 0], weights["output.weight"].numpy()[[1, 2, 3]])
    logits = step.taps[-1, 2] @ weights["output.weight"].numpy().T
    np.testing.assert_allclose(logits, step.logits[0], atol=1e-4)


def test_a_full_cache_is_refused() -> None:
    trunk = tiny_trunk()
    with pytest.raises(ValueError, match="exceed the cache"):
        trunk.forward([1] * 9, 0, trunk.allocate(8))
