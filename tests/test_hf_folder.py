"""Hugging Face folders against the library that wrote them, and clear words for what cannot be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
from tiny_folder import FAMILIES, TEXT, change_json, hugging_face
from tokenizers import Tokenizer, models

from quatrain.model import checkpoint, native, source
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.engine import LocalEngine

IDS = torch.randint(0, 280, (37,), generator=torch.Generator().manual_seed(1)).tolist()


def open_folder(folder: Path, arithmetic: str = "torch-f32") -> LocalEngine:
    return checkpoint.open_engine(str(folder), arithmetic, lambda *_: None)


def logits(engine: LocalEngine) -> np.ndarray:
    storage: Any = engine.trunk.allocate(64)
    return engine.trunk.forward(IDS, 0, storage, range(len(IDS))).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_reference(home: Path, tmp_path: Path, family: str) -> None:
    reference = hugging_face(tmp_path, family)
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0].numpy()
    engine = open_folder(tmp_path)
    assert engine.layout.name == "qwen"
    np.testing.assert_allclose(logits(engine), expected, atol=2e-4, rtol=2e-3)
    assert "".join(r.text for r in engine.generate(engine.encode("def f(self", ""), Stop(), 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_numbers_of_two_bytes(home: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    wrote = hugging_face(tmp_path, "llama", dtype)
    reference = type(wrote).from_pretrained(tmp_path, dtype=torch.float32)  # its rotary table was rounded above
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0].numpy()
    np.testing.assert_allclose(logits(open_folder(tmp_path)), expected, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("arithmetic", ["native", "torch-bf16", "torch-int8"])
@pytest.mark.parametrize("family", ["llama-wide-heads", "qwen2"])
def test_other_arithmetics(home: Path, tmp_path: Path, family: str, arithmetic: str) -> None:
    hugging_face(tmp_path, family, torch.bfloat16, head_dim=32, num_attention_heads=2)
    exact, other = logits(open_folder(tmp_path)), logits(open_folder(tmp_path, arithmetic))
    assert np.abs(exact - other).max() < 0.12 * np.abs(exact).max()


def test_shards_are_one_model(home: Path, tmp_path: Path) -> None:
    reference = hugging_face(tmp_path, "qwen3", max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0].numpy()
    np.testing.assert_allclose(logits(open_folder(tmp_path)), expected, atol=2e-4, rtol=2e-3)
    next(iter(sorted(tmp_path.glob("model-*.safetensors")))).unlink()
    with pytest.raises(QuatrainError, match="not a whole model"):
        source.read(tmp_path)


@pytest.mark.parametrize("family", ["qwen3", "starcoder2", "llama-biased"])
def test_what_the_kernels_lack_is_left_to_torch(home: Path, tmp_path: Path, family: str) -> None:
    hugging_face(tmp_path, family)
    assert native.unsupported(source.read(tmp_path).config)
    with pytest.raises(QuatrainError, match="native kernels cannot run this model"):
        open_folder(tmp_path, "native")


def test_the_tokenizer_is_the_files(home: Path, tmp_path: Path) -> None:
    hugging_face(tmp_path, "qwen2")
    vocabulary = open_folder(tmp_path).vocabulary
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (*TEXT, "naïve 🙂\n"):
        assert vocabulary.encode(text) == theirs.encode(text).ids
        assert vocabulary.decode(vocabulary.encode(text)) == text
    marker = vocabulary.marker("<|fim_middle|>")
    assert marker is not None and marker == theirs.token_to_id("<|fim_middle|>")
    assert marker not in vocabulary.encode("a <|fim_middle|> b")
    assert vocabulary.size == 288 and vocabulary.bytes_of(287) == b""


def test_a_sentence_piece_tokenizer(tmp_path: Path) -> None:
    from quatrain.model import tokenizer, tokenizer_json

    vocab = {"<unk>": 0, **{f"<0x{b:02X}>": b + 1 for b in range(256)}, "▁": 257, "a": 258, "▁a": 259, "▁▁": 260}
    plain = Tokenizer(models.BPE(vocab, [("▁", "a"), ("▁", "▁")], byte_fallback=True, unk_token="<unk>"))
    path = tmp_path / "tokenizer.json"
    plain.add_special_tokens(["<unk>"])
    plain.save(str(path))
    prepend = {"type": "Prepend", "prepend": "▁"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    change_json(path, normalizer={"type": "Sequence", "normalizers": [prepend, replace]})
    tokenizer.save(tmp_path, *tokenizer_json.read(path, 262))
    vocabulary = tokenizer.load(tmp_path)
    assert vocabulary.encode("a a") == [258, 259]
    assert vocabulary.decode(vocabulary.encode("  a\né")) == "  a\né"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert"}, "'bert' model; of Hugging Face folders llama, qwen2, qwen3, starcoder2"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_scaling .* 'llama3' is not supported"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling .* 'linear'"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is not supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is not supported"),
        ({"use_sliding_window": True, "sliding_window": 64}, "sliding_window 64 is not supported"),
        ({"num_hidden_layers": None}, "lacks a setting or has a wrong one"),
        ({"num_hidden_layers": 3}, r"no tensor blk\.2\..*: the file is not a whole model"),
        ({"num_hidden_layers": 1}, r"tensor that its family does not have here: blk\.1\."),
        ({"intermediate_size": 64}, "has shape .*, expected"),
        ({"model_type": "qwen3", "tie_word_embeddings": False}, "lm_head.weight, and config.json says"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    hugging_face(tmp_path, "qwen2")
    change_json(tmp_path / "config.json", **changes)
    with pytest.raises(QuatrainError, match=words):
        source.read(tmp_path)


def test_a_long_sliding_window_only_bounds_the_context(tmp_path: Path) -> None:
    hugging_face(tmp_path, "starcoder2", sliding_window=2048, max_position_embeddings=4096)
    assert source.read(tmp_path).config.max_positions == 2048


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.safetensors", None, "no model.safetensors: not a whole model"),
        ("model.safetensors", b"\x10\x00", "damaged or cut short"),
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[]", "does not hold a JSON object"),
        ("config.json", None, "holds neither config.json"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", b'{"model": {"type": "Unigram"}}', "'Unigram' tokenizer is not supported"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}', "not over bytes"),
    ],
)
def test_damaged_folders(home: Path, tmp_path: Path, file: str, content: bytes | None, words: str) -> None:
    folder = tmp_path / "model"
    hugging_face(folder, "llama")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(QuatrainError, match=words):
        open_folder(folder)
    left = home / "converted"
    assert not left.exists() or not list(left.iterdir())


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    hugging_face(tmp_path, "llama")
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: tensor.to(torch.int8) for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    with pytest.raises(QuatrainError, match="holds int8 numbers; only float32, float16 and bfloat16"):
        source.read(tmp_path)
