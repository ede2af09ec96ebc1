"""Meta's multi-token checkpoints: logits of every head, self-speculation that changes nothing, clear refusals."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sentencepiece")
from tiny_meta import DIM, TEXT, Meta, random_meta, right_meta

from quatrain.lsp_server import cli
from quatrain.model import checkpoint, decode, source
from quatrain.model.api import Prompt, QuatrainError, Round, Stop
from quatrain.model.draft import DraftSource, NoDraft
from quatrain.model.engine import LocalEngine
from quatrain.model.independent_heads import IndependentHeads
from quatrain.model.transformer import Transformer

ARITHMETICS = ["torch-f32", "torch-bf16", "torch-int8", "native"]


def open_folder(folder: Path, arithmetic: str = "torch-f32", **options: Any) -> LocalEngine:
    return checkpoint.open_engine(str(folder), arithmetic, lambda *_: None, **options)


def run(engine: LocalEngine, ids: list[int], source: DraftSource, tokens: int = 24) -> tuple[list[int], list[Round]]:
    prompt = Prompt(tuple(ids))
    got = list(decode.rounds(engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), tokens, source))
    return [token for r in got for token in r.tokens], got


def passes(rounds: list[Round]) -> int:
    return sum(bool(r.tokens) for r in rounds)


def ids_of(count: int, vocab: int = 320, seed: int = 1) -> list[int]:
    return torch.randint(3, vocab, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize(("n", "dtype"), [(1, torch.float32), (2, torch.float16), (4, torch.float32)], ids=str)
def test_every_head_says_what_the_reference_says(home: Path, tmp_path: Path, n: int, dtype: torch.dtype) -> None:
    meta = random_meta(n, dtype=dtype)
    engine = open_folder(meta.write(tmp_path))
    trunk, heads, ids = engine.trunk, engine.head, ids_of(40)
    expected = meta.all_logits(ids).numpy()  # (positions, n, vocab)
    storage: Any = trunk.allocate(64)
    step = trunk.forward(ids, 0, storage, range(len(ids)))
    np.testing.assert_allclose(step.logits, expected[:, 0], atol=1e-3, rtol=1e-3)
    if n == 1:
        assert heads is None and step.taps is None
        return
    assert isinstance(heads, IndependentHeads) and step.taps is not None
    for first, last in ((0, 7), (7, 8), (8, 40)):  # in pieces, as a prompt comes
        heads.observe(first, step.taps[first:last])
        draft = heads.propose([*ids[:last], 0], 0, 8)
        assert draft.tokens == tuple(expected[last - 1, 1:].argmax(-1).tolist())
    assert heads.propose([*ids, 0], 0, 1).tokens == draft.tokens[:1]
    assert heads.propose([*ids, 0, 0], 0, 8).tokens == ()  # a token whose states were not shown


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_right_heads_give_several_tokens_a_pass(home: Path, tmp_path: Path, arithmetic: str) -> None:
    engine = open_folder(right_meta().write(tmp_path), arithmetic)
    assert engine.head is not None
    plain, slow = run(engine, [20, 21, 22], NoDraft())
    fast_tokens, fast = run(engine, [20, 21, 22], engine.head)
    assert plain == fast_tokens == list(range(23, 47))
    assert (passes(slow), passes(fast)) == (24, 7)  # one without a draft, then four tokens each: 1 + 4 * 6 >= 24
    assert {r.source for r in fast[1:-1]} == {"heads"}


@pytest.mark.parametrize("arithmetic", ["torch-f32", "native"])
@pytest.mark.parametrize("seed", range(3))
def test_heads_never_change_the_output(home: Path, tmp_path: Path, arithmetic: str, seed: int) -> None:
    """Random heads over a random trunk are wrong nearly always; half of them right is the harder case."""
    meta = random_meta(seed=seed)
    engine = open_folder(meta.write(tmp_path), arithmetic)
    assert engine.head is not None
    for length in (1, 5, 300, 40):  # 300: more than one piece; 40: back to an earlier text
        ids = ids_of(min(length, 200), seed=length)
        plain, _ = run(engine, ids, NoDraft(), 16)
        assert run(engine, ids, engine.head, 16)[0] == plain
        assert run(engine, ids[: len(ids) // 2 + 1], engine.head, 16)[1][-1].ended  # forgets, then shows again
        assert run(engine, ids, engine.head, 16)[0] == plain


def test_a_forgotten_tail_is_shown_again(home: Path, tmp_path: Path) -> None:
    engine = open_folder(right_meta().write(tmp_path))
    heads = engine.head
    assert isinstance(heads, IndependentHeads)
    run(engine, list(range(30, 60)), heads)
    tokens, rounds = run(engine, [*range(30, 50), 99], heads, 12)
    assert tokens == list(range(100, 112)) and passes(rounds) == 4


def test_the_engine_speculates_with_the_models_own_heads(home: Path, tmp_path: Path) -> None:
    right_meta().write(tmp_path)
    engines = [open_folder(tmp_path, speculate=speculate) for speculate in (True, False)]
    rounds = [list(engine.generate(engine.encode("def f(", ""), Stop(), 20)) for engine in engines]
    texts = ["".join(r.text for r in got) for got in rounds]
    assert texts[0] == texts[1] and passes(rounds[0]) < passes(rounds[1]) / 2


def test_a_state_after_the_final_norm_is_not_normalised_again() -> None:
    from tiny import TINY, tiny_weights

    weights = tiny_weights(TINY)
    heads = IndependentHeads(TINY, weights, 2, TINY.layers, 32)
    trunk = Transformer(TINY, weights, heads.taps)
    taps = trunk.forward([5, 6, 7], 0, trunk.allocate(8)).taps
    assert taps is not None
    heads.observe(0, taps)
    assert heads.last is not None
    expected = (heads.last @ weights["output.weight"].T).argmax(-1)
    assert heads.propose([5, 6, 7, 1], 0, 4).tokens == tuple(expected.tolist())


def test_the_tokenizer_is_sentence_pieces(home: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    vocabulary = open_folder(random_meta().write(tmp_path)).vocabulary
    theirs = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for line in TEXT.splitlines():
        expected = theirs.encode(line)
        ours = vocabulary.encode(" " + line)  # theirs puts a space before every text
        assert ours == expected, line
    assert vocabulary.decode(vocabulary.encode("naïve 🙂\n\tx")) == "naïve 🙂\n\tx"
    assert vocabulary.marker("<s>") == 1
    engine = open_folder(tmp_path)
    assert engine.layout.name == "sentencepiece" and engine.encode("x = ", "tail").tokens[0] == 1


def test_without_sentence_piece_one_line_says_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_meta().write(tmp_path)
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(QuatrainError, match=r"pip install 'quatrain\[sentencepiece\]'"):
        open_folder(tmp_path)


def test_a_given_tokenizer_json_serves(home: Path, tmp_path: Path) -> None:
    from tiny_folder import VOCAB, byte_tokenizer

    random_meta(vocab=VOCAB).write(tmp_path, vocab=False)
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    assert open_folder(tmp_path).layout.name == "qwen"


def changed(meta: Meta, what: str) -> None:
    first = "layers.0.attention.wq.weight"
    edits: dict[str, Any] = {
        "a head too few": lambda: [meta.state.pop(name) for name in list(meta.state) if "extra_heads.2" in name],
        "a part of a head": lambda: meta.state.pop("extra_heads.1.ffn_norm.weight"),
        "a layer too few": lambda: [meta.state.pop(name) for name in list(meta.state) if name.startswith("layers.2")],
        "more layers": lambda: meta.params.update(n_layers=5),
        "no heads in params": lambda: meta.params.update(n_future_tokens=1, n_layers=3),
        "a foreign tensor": lambda: meta.state.update({"vision.weight": torch.ones(2)}),
        "a wrong shape": lambda: meta.state.update({first: torch.ones(DIM, DIM + 1)}),
        "integers": lambda: meta.state.update({first: torch.ones(DIM, DIM, dtype=torch.int8)}),
        "another vocabulary": lambda: meta.params.update(vocab_size=7),
        "scaled rope": lambda: meta.params.update(use_scaled_rope=True),
        "other heads": lambda: meta.params.update(heads_design="anticausal"),
        "no dim": lambda: meta.params.pop("dim"),
    }
    edits[what]()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a head too few", r"3 extra heads .*extra_heads\.2"),
        ("a part of a head", r"extra_heads\.1\.ffn_norm"),
        ("a layer too few", r"no tensor blk\.2\."),
        ("more layers", r"more layers than params.json says: blk\.2\."),
        ("no heads in params", r"0 extra heads"),
        ("a foreign tensor", r"Meta's Llama layout does not have: vision.weight"),
        ("a wrong shape", r"blk\.0\.attn_q\.weight has shape"),
        ("integers", "holds int8 numbers"),
        ("another vocabulary", "do not belong together: vocab_size 7 for 320"),
        ("scaled rope", "use_scaled_rope is not supported"),
        ("other heads", "heads_design 'anticausal' is not known"),
        ("no dim", "lacks a setting or a tensor"),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, what: str, words: str) -> None:
    meta = random_meta()
    changed(meta, what)
    meta.write(tmp_path, vocab=False)
    with pytest.raises(QuatrainError, match=words):
        source.read(tmp_path)


class Evil:
    """What a pickle can do when it is loaded; ours must not be."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("/tmp/quatrain-evil"), "x"))


def test_damaged_and_dangerous_files(tmp_path: Path) -> None:
    folder = random_meta().write(tmp_path, vocab=False)
    whole = (folder / "consolidated.pth").read_bytes()
    for raw in (whole[: len(whole) // 2], b"", b"PK\x03\x04 nonsense"):
        (folder / "consolidated.pth").write_bytes(raw)
        with pytest.raises(QuatrainError, match="damaged, cut short or not plain tensors"):
            source.read(folder)
    torch.save({"tok_embeddings.weight": Evil()}, folder / "consolidated.pth")
    with pytest.raises(QuatrainError, match="not plain tensors"):
        source.read(folder)
    assert not Path("/tmp/quatrain-evil").exists()
    torch.save([1, 2], folder / "consolidated.pth")
    with pytest.raises(QuatrainError, match="does not hold a plain table of tensors"):
        source.read(folder)
    (folder / "consolidated.pth").rename(folder / "consolidated.00.pth")
    (folder / "consolidated.01.pth").write_bytes(b"")
    with pytest.raises(QuatrainError, match="2 files consolidated"):
        source.read(folder)
    for file in folder.glob("*.pth"):
        file.unlink()
    with pytest.raises(QuatrainError, match=r"no consolidated\.pth"):
        source.read(folder)
    (folder / "params.json").unlink()
    with pytest.raises(QuatrainError, match=r"neither config\.json"):
        source.read(folder)


def test_bad_tokenizers(home: Path, tmp_path: Path) -> None:
    import sentencepiece

    folder = random_meta().write(tmp_path)
    file = folder / "tokenizer.model"
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    with pytest.raises(QuatrainError, match="not a SentencePiece model or damaged"):
        open_folder(folder)
    file.unlink()
    with pytest.raises(QuatrainError, match=r"has no tokenizer\.model"):
        open_folder(folder)
    (tmp_path / "text").write_text(TEXT * 9)
    settings = {
        "model_prefix": str(folder / "tokenizer"),
        "vocab_size": 300,
        "minloglevel": 2,
        "byte_fallback": True,
        "hard_vocab_limit": False,
    }
    sentencepiece.SentencePieceTrainer.train(input=str(tmp_path / "text"), model_type="unigram", **settings)
    with pytest.raises(QuatrainError, match="unigram model"):
        open_folder(folder)
    file.write_bytes(whole)
    meta = random_meta(vocab=100)
    torch.save(meta.state, folder / "consolidated.pth")
    (folder / "params.json").write_text(json.dumps(meta.params))
    with pytest.raises(QuatrainError, match=r"320 tokens, but the model only 100 rows"):
        open_folder(folder)


def test_the_command_completes_with_the_models_own_heads(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`quatrain complete --model FOLDER`: several tokens a pass, and the same text as one by one."""
    folder, file = right_meta().write(tmp_path / "model"), tmp_path / "a.py"
    file.write_text("def f(self):\n")
    made = []
    for options in ([], ["--no-speculation"]):
        asked = ["complete", "--json", "--model", str(folder), "--arithmetic", "torch-f32", *options, f"{file}:2:1"]
        assert cli.main(asked) == 0
        made.append(json.loads(capsys.readouterr().out))
    own, plain = made
    assert own["tokens"] == plain["tokens"] == plain["forwards"] >= 48
    assert own["tokens"] / own["forwards"] > 3.5
    said = ["".join(part["text"] for part in one["rounds"]) for one in made]
    assert said[0] == said[1] != ""
    assert "heads" in {part["source"] for part in own["rounds"]}
