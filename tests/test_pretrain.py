"""Training from scratch: the step that saves memory, runs that stop and go on, what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
from tiny_pretrain import LINE, QUICK, SMALL, silent, trained, weights, write_corpus

from quatrain.model import checkpoint, decode, source
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.draft import NoDraft
from quatrain.model.independent_heads import IndependentHeads
from quatrain.model.train.pretrain import compare, completions, journal, memory, run, saving, texts, tokens
from quatrain.model.train.pretrain.network import Network
from quatrain.model.train.pretrain.settings import Settings
from quatrain.model.train.pretrain.sizes import DESIGNS, LOOKAHEAD, SIZES, Plan, plan
from quatrain.model.train.pretrain.texts import Order, Windows


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(SIZES, "test", SMALL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "sources")


def network_of(heads: int, vocab: int = 260, seed: int = 0, design: str = "parallel") -> Network:
    torch.manual_seed(seed)
    return Network(plan("test", vocab, heads, design))


def window_of(vocab: int = 260, rows: int = 2) -> torch.Tensor:
    return torch.randint(0, vocab, (rows, SMALL.context + LOOKAHEAD), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(("heads", "active"), [(1, 1), (4, 4), (4, 2)])
def test_gradients_are_those_of_the_plain_step(heads: int, active: int, design: str) -> None:
    network, gradients = network_of(heads, design=design), []
    for together in (True, False):
        network.zero_grad(set_to_none=True)
        total, each = network(window_of(), active, together)
        (total / 3).backward()  # a factor from outside, as pieces of a batch have
        assert each.shape == (active,) and torch.isclose(each.sum(), total)
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    for name, plain in gradients[0].items():
        found = gradients[1][name]
        assert (plain is None) == (found is None), name
        if plain is not None and found is not None:
            torch.testing.assert_close(found, plain, atol=1e-7, rtol=1e-5)
    assert (gradients[1].get("extra_heads.2.ffn_norm.weight") is None) == (active < 4)


def test_a_chain_reads_what_came_before() -> None:
    """Head 2 of a chain depends on head 1, in the parallel design it does not; one head is the same in both."""
    window = window_of()
    for design in DESIGNS:
        network = network_of(3, design=design)
        before = network(window, 3)[1]
        with torch.no_grad():
            network.heads[1].feed_forward.w2.weight += 0.1
        after = network(window, 3)[1]
        assert after[0] == before[0] and after[1] != before[1]
        assert (after[2] != before[2]) == (design == "causal")
    assert network_of(1, design="causal")(window, 1)[0] == network_of(1)(window, 1)[0]


def test_memory_grows_with_heads_only_in_the_plain_step() -> None:
    peaks = {p.heads: p for p in memory.curve("test", (1, 2, 4), (4096,), 2, "cpu")}
    one_head = peaks[1].logits
    for heads in (2, 4):
        grown = peaks[heads].together - peaks[1].together
        assert 0.9 * (heads - 1) * one_head < grown < 1.3 * (heads - 1) * one_head
        # the gradients of the shared output are gathered beside those of one head: as much again as its weights
        assert peaks[heads].in_turn < peaks[1].in_turn + 1.1 * 4 * 4096 * SMALL.width
    wider = next(iter(memory.curve("test", (4,), (8192,), 2, "cpu")))
    assert wider.in_turn - peaks[4].in_turn < 4.2 * one_head < 6 * one_head < wider.together - peaks[4].together


def test_parameters_are_the_same_for_any_number_of_heads() -> None:
    counts = {sum(p.numel() for p in network_of(heads).parameters()) for heads in (1, 2, 4)}
    assert counts == {plan("test", 260, 1).parameters}
    with pytest.raises(QuatrainError, match="takes 1 to 4"):
        plan("test", 260, 5)
    with pytest.raises(QuatrainError, match="no size 'huge'; known are pico"):
        plan("huge", 260, 1)


def test_learning_rate_and_curriculum() -> None:
    chosen = Settings(steps=100, warm_up=0.1, heads=4, curriculum=0.5)
    rates = [run.rate(step, chosen, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1, abs=0.01) and rates[55] == pytest.approx(0.55, abs=0.01)
    assert [run.active(step, chosen) for step in (0, 12, 13, 25, 38, 49, 50, 99)] == [1, 1, 2, 3, 4, 4, 4, 4]
    assert run.active(0, replace(chosen, curriculum=0.0)) == 4


def test_pieces_are_laid_out_as_the_product_asks(tmp_path: Path) -> None:
    tokens.make("bytes", [], tmp_path / "tokenizer.json")
    vocabulary = tokens.load(tmp_path / "tokenizer.json")
    assert vocabulary.size == 260 and vocabulary.encode("aé\n") == [97, 0xC3, 0xA9, 10]
    assert vocabulary.encode_words("ab cd")[1] == 4  # every character is a word
    ids = texts.ids_of(texts.Piece("before HOLE after", 7, 11), vocabulary)
    shown = [bytes([i]).decode() if i < 256 else f"[{i - 256}]" for i in ids]
    prefix, suffix, middle, end = (
        f"[{(vocabulary.marker(m) or 0) - 256}]" for m in (*tokens.MARKERS[1:], tokens.MARKERS[0])
    )
    assert "".join(shown) == f"{prefix}{suffix} after{middle}before HOLE{end}"
    whole = texts.ids_of(texts.Piece("all", 0, 3), vocabulary)
    assert len(whole) == 3 + 4


def test_tokenizers(tmp_path: Path) -> None:
    target = tmp_path / "tokenizer.json"
    tokens.make("300", [LINE] * 9, target)
    vocabulary = tokens.load(target)
    assert vocabulary.size <= 300 and len(vocabulary.encode(LINE)) < len(LINE) / 2
    assert vocabulary.decode(vocabulary.encode(LINE)) == LINE
    tokens.make(str(target), [], tmp_path / "again.json")
    assert tokens.load(tmp_path / "again.json").encode(LINE) == vocabulary.encode(LINE)
    for kind, words in (("100", "100 tokens are too few"), ("words", "neither `bytes`")):
        with pytest.raises(QuatrainError, match=words):
            tokens.make(kind, [], target)


def test_corpora_and_plain_folders(tmp_path: Path, corpus: Path) -> None:
    found = {part: {t.path for t in texts.read(corpus, part)} for part in ("train", "held")}
    assert found["held"] and found["train"] and not found["held"] & found["train"]
    assert len(found["held"] | found["train"]) == 6
    from quatrain.model.train.corpus import Text, write

    write(
        [Text("a", "MIT", "python", "a.py", LINE), Text("b", "MIT", "python", "b.py", LINE)],
        tmp_path / "c",
        frozenset("b"),
    )
    assert [t.path for t in texts.read(tmp_path / "c", "held")] == ["b.py"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(QuatrainError, match="too few source files"):
        texts.read(tmp_path / "empty", "train")


def test_every_window_is_read_once_an_epoch_whoever_reads_it() -> None:
    whole = [sorted(rows) for rows in Order(10, 4, 0, 5, seed=1)]
    assert [len(rows) for rows in whole] == [4] * 5
    assert sorted(i for rows in Order(10, 2, 0, 5, seed=1) for i in rows) == list(range(10))
    halves = [list(Order(10, 4, 0, 5, 1, rank, 2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == whole
    assert [sorted(rows) for rows in Order(10, 4, 3, 5, seed=1)] == whole[3:]


def test_windows_overlap_by_what_heads_look_ahead(tmp_path: Path) -> None:
    assert texts.write([list(range(50)), list(range(50, 100)), [1, 2]], 260, tmp_path / "ids", most=60) == 100
    windows = Windows(tmp_path / "ids", 260, 20)
    assert len(windows) == 4 and windows[1].tolist() == list(range(20, 48))
    with pytest.raises(QuatrainError, match="100 tokens of text are too few for a context of 200"):
        Windows(tmp_path / "ids", 260, 200)


def test_a_resumed_run_is_an_uninterrupted_one(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(corpus, tmp_path / "whole", curriculum=0.5)
    real, taken = run.Training.one, []

    def stopped(self: run.Training, window: torch.Tensor) -> torch.Tensor:
        taken.append(self.step)
        if len(taken) == 7:  # a checkpoint was written after step 4; two more steps are lost
            raise KeyboardInterrupt
        return real(self, window)

    with monkeypatch.context() as patch:
        patch.setattr(run.Training, "one", stopped)
        with pytest.raises(KeyboardInterrupt):
            trained(corpus, tmp_path / "parts", curriculum=0.5)
    resumed = trained(corpus, tmp_path / "parts", curriculum=0.5)
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.held == whole.held
    logs = [[row for row in journal.read(tmp_path / f / "log.jsonl") if "loss" in row] for f in ("whole", "parts")]
    assert [(r["step"], r["loss"]) for r in logs[0]] == [(r["step"], r["loss"]) for r in logs[1]]


def test_a_pause_stops_in_time_and_other_settings_are_refused(tmp_path: Path, corpus: Path) -> None:
    result = trained(corpus, tmp_path / "run", replace(QUICK, pause=1e-9))
    assert (result.folder, result.steps) == (None, 1)
    with pytest.raises(QuatrainError, match="a run with heads 2, not 4"):
        trained(corpus, tmp_path / "run", heads=4)
    assert trained(corpus, tmp_path / "run").steps == 8
    again = trained(corpus, tmp_path / "run")  # nothing left to do
    assert again.folder is not None and again.steps == 8


def test_checkpoints_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(2)
    optimiser = run.optimiser_of(network, Settings(), torch.device("cpu"))
    saving.save(tmp_path, 1, network, optimiser)

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_file", full)
        with pytest.raises(OSError, match="No space"):
            saving.save(tmp_path, 2, network, optimiser)
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000001.safetensors"]
    file = saving.checkpoints(tmp_path)[0]
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(QuatrainError, match="damaged or of another run"):
        saving.load(file, network, optimiser)


@pytest.mark.parametrize("design", DESIGNS)
def test_an_exported_network_is_the_one_that_was_trained(home: Path, tmp_path: Path, design: str) -> None:
    """The served trunk and heads against the network that was trained: another implementation of both."""
    network = network_of(4, design=design)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * (1 if parameter.ndim == 1 else 8)).bfloat16())
    tokens.make("bytes", [], tmp_path / "tokenizer.json")
    saving.export(network, tmp_path / "tokenizer.json", tmp_path / "model")
    engine = checkpoint.open_engine(str(tmp_path / "model"), "torch-f32", silent)
    ids = window_of()[0, :30].tolist()
    with torch.no_grad():
        state = network.trunk(torch.tensor([ids]))
        expected = torch.stack([logits[0] for logits in network.logits(4, state)]).numpy()
    storage = engine.trunk.allocate(64)  # type: ignore[union-attr]
    step = engine.trunk.forward(ids, 0, storage, range(30))  # type: ignore[arg-type]
    np.testing.assert_allclose(step.logits, expected[0], atol=1e-4, rtol=1e-3)
    assert isinstance(engine.head, IndependentHeads) and step.taps is not None
    for first, last in ((0, 20), (20, 30)):  # in pieces, as a prompt and its continuation
        engine.head.observe(first, step.taps[first:last])
    assert engine.head.propose([*ids, 0], 0, 8).tokens == tuple(expected[1:, -1].argmax(-1).tolist())
    assert source.read(tmp_path / "model").config == network.plan.config


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_a_tiny_text_is_learned_by_heart(home: Path, tmp_path: Path, corpus: Path, design: str) -> None:
    """Loss goes to nearly nothing, the heads' drafts are right, and what they speed up says the same."""
    running = replace(QUICK, log_every=20, measure_every=120, save_every=120)
    result = trained(corpus, tmp_path / "run", running, heads=3, design=design, steps=240, holes=0.0)
    assert result.folder is not None and max(result.held) < 0.2
    engine = checkpoint.open_engine(str(result.folder), "torch-f32", silent)
    prompt = engine.encode("def area(wid", "")
    said = []
    for drafts in (engine.head, NoDraft()):
        assert drafts is not None
        rounds = list(decode.rounds(engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), 40, drafts))
        said.append("".join(r.text for r in rounds))
        passes = sum(bool(r.tokens) for r in rounds)
        assert passes < 25 if drafts is engine.head else passes == 40
    assert said[0] == said[1] and said[0].startswith("th, height):\n    return width * height\n")


@pytest.mark.slow
def test_a_comparison_dry(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = replace(compare.PRESETS["dry"], settings=Settings("test", steps=4, batch=2, context=128))
    rows, whole = compare.compare(corpus, tmp_path / "out", preset, replace(preset.running, pause=1e-9), silent)
    assert (rows, whole) == ([], False)
    rows, whole = compare.compare(corpus, tmp_path / "out", preset, preset.running, silent)
    assert whole and [row.heads for row in rows] == [1, 2]
    assert rows[0].parameters == rows[1].parameters and rows[0].tokens == rows[1].tokens
    assert rows[0].found.tokens_per_pass == 1.0 <= rows[1].found.tokens_per_pass
    assert all(row.found.same == row.found.compared for row in rows)
    held = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert len(held["rows"]) == 2 and (tmp_path / "out" / "tokens-per-pass.svg").exists()
    again, _ = compare.compare(corpus, tmp_path / "out", preset, preset.running, silent)
    assert again[0].found == rows[0].found and compare.table(again).row_count == 2


def test_holes_ask_for_the_rest_of_a_line(corpus: Path) -> None:
    for hole in completions.holes(texts.read(corpus, "train"), 12, 150, seed=0):
        assert hole.expected and "\n" not in hole.expected and hole.suffix.startswith("\n")
        line = hole.prefix.rsplit("\n", 1)[-1] + hole.expected
        assert line.strip() in LINE or line.startswith("NUMBER")
    assert isinstance(plan("test", 260, 1), Plan)
