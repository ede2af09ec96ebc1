"""The default model itself: exact enough, lossless when drafting, fast to come back to, useful. Downloads it once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lsp_client import Client, place

from quatrain.lsp_server.complete import Completer
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.settings import Settings
from quatrain.model import checkpoint, decode, fetch, gguf_file, native, tokenizer
from quatrain.model.api import Stop
from quatrain.model.draft import NoDraft
from quatrain.model.engine import LocalEngine
from quatrain.model.transformer import Transformer

pytestmark = pytest.mark.model
ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / "model" / "decode.py").read_text()


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return checkpoint.open_engine("", "auto", silent)


@pytest.fixture(scope="module")
def reference(engine: LocalEngine) -> Iterator[Transformer]:
    """The dequantised float32 model."""
    import torch

    source = gguf_file.read(fetch.path_of(fetch.MODELS[fetch.DEFAULT]))
    weights = {
        name: torch.tensor(gguf_file.dense(source.tensors[name]))
        for name in gguf_file.shapes(source.config)
        if name != "token_embd.weight"
    }
    yield Transformer(source.config, weights)


def test_known_ids(engine: LocalEngine) -> None:
    """Published ids of the Qwen2.5 tokenizer."""
    v: tokenizer.Vocabulary = engine.vocabulary
    assert v.encode("def hello_world():\n    print(1)") == [750, 23811, 31792, 3932, 262, 1173, 7, 16, 8]
    markers = {"<|endoftext|>": 151643, "<|fim_prefix|>": 151659, "<|fim_middle|>": 151660, "<|fim_suffix|>": 151661}
    assert {name: v.marker(name) for name in markers} == markers


@pytest.mark.skipif(native.available() is not None, reason=f"{native.available()}")
def test_our_arithmetic_is_the_models(engine: LocalEngine, reference: Transformer) -> None:
    ids = engine.vocabulary.encode(SOURCE)[:700]
    storage = engine.trunk.allocate(704)
    ours = engine.trunk.forward(ids, 0, storage, range(len(ids))).logits  # type: ignore[arg-type]
    exact = reference.forward(ids, 0, reference.allocate(704), range(len(ids))).logits
    said = ours.argmax(-1)
    assert (said == exact.argmax(-1)).mean() >= 0.975  # 0.9927 over 10,220 tokens; here 700 of one file
    behind = exact.max(-1) - np.take_along_axis(exact, said[:, None], axis=-1)[:, 0]
    assert behind.max() < 1.0, "where they differ, the exact model was undecided"
    loss_of_ours, loss = mean_loss(ours, ids), mean_loss(exact, ids)
    assert loss < 4
    assert abs(loss_of_ours / loss - 1) < 0.005


def mean_loss(logits: np.ndarray, ids: list[int]) -> float:
    rows = logits[:-1].astype(np.float64)
    top = rows.max(-1)
    logsum = top + np.log(np.exp(rows - top[:, None]).sum(-1))
    return float((logsum - rows[np.arange(len(rows)), ids[1:]]).mean())


def test_drafting_changes_nothing_over_200_prompts(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(7)
    files = [p.read_text() for folder in ("model", "lsp_server") for p in sorted((ROOT / folder).glob("*.py"))]
    drafted = 0
    for _ in range(200):
        text = chosen.choice([f for f in files if len(f) > 200])
        at = chosen.randrange(100, len(text))
        prompt = engine.encode(text[max(0, at - 400) : at], text[at + 30 : at + 130])
        guess = text[at : at + 20]
        fast = [r for r in engine.generate(prompt, Stop(), 10, guess)]
        drafted += sum(r.drafted for r in fast)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "source", lambda *_: NoDraft())
            plain = [r for r in engine.generate(prompt, Stop(), 10)]
        assert [t for r in fast for t in r.tokens] == [t for r in plain for t in r.tokens]
    assert drafted > 500


def test_typing_finds_its_prompt_in_the_cache(engine: LocalEngine) -> None:
    """Typing 40 characters one by one: from the second request on, 90 % of the prompt comes from the cache."""
    completer, line = Completer(engine), "    count = sum(len(r.tokens) for r in got)"
    cursor = SOURCE.index("    writer, choose = Writer(")
    document = Document("decode.py", "python", SOURCE[:cursor] + "\n" + SOURCE[cursor:])
    reused = prompted = 0
    for i in range(40):
        document.edit(cursor + i, cursor + i, line[i])
        completer.forget()  # every keystroke asks the model
        trace = completer.complete(document.snapshot(cursor + i + 1), Settings(max_tokens=4), Stop()).trace
        if i:
            reused, prompted = reused + trace.reused, prompted + trace.prompted
    assert reused / (reused + prompted) >= 0.9


def test_a_person_gets_real_code(tmp_path: Path) -> None:
    path = tmp_path / "shapes.py"
    path.write_text("import math\n\n\ndef area_of_circle(radius):\n    return \n\n\nprint(area_of_circle(2))\n")
    command = [sys.executable, "-m", "quatrain.lsp_server", "complete", "--json", f"{path}:5:12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    answer = json.loads(done.stdout)
    assert "math.pi" in answer["text"] and "radius" in answer["text"] and "\n" not in answer["text"]


def test_the_server_with_the_real_model() -> None:
    # an emoji, a tab, CRLF and a form feed before the place
    text = "import math\r\n\f\r\nname = '🙂'\r\nif name:\r\n\tdef area_of_circle(radius):\r\n\t\treturn \r\n"
    text += "\r\nprint(area_of_circle(2))\r\n"
    with Client() as client:
        client.initialize()
        client.wait_state("ready", 300)
        uri = client.open(text)
        (item,) = client.inline(uri, 5, 9, kind=1)
        assert "math.pi" in item["insertText"] and "radius" in item["insertText"]
        assert item["range"]["start"] == place(5, 9)
        status = client.request("quatrain/status")
        assert status["offered"] == 1 and status["engine"]["vocabulary"] == 151936
        client.request("shutdown")
        client.notify("exit")
        assert client.process.wait(20) == 0


def test_the_shipped_head_drafts_well_and_changes_nothing(engine: LocalEngine) -> None:
    """The head that comes with Quatrain belongs to the default model and is worth its time."""
    assert engine.head is not None, "no shipped head for the default model"
    settled = passes = 0
    for at in (1500, 2500, 3500, 4500):
        prompt = engine.encode(SOURCE[:at], "")
        said: list[list[int]] = []
        for source in (NoDraft(), engine.head):
            stream = decode.rounds(engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), 32, source, 4)
            kept = [r for r in stream if r.tokens]
            said.append([token for r in kept for token in r.tokens])
        assert said[0] == said[1]
        settled, passes = settled + len(said[1]), passes + len(kept)
    assert settled / passes > 1.25
