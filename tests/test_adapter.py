"""Adapters: files and refusals, merged weights of every kind of converted model, training at a tiny size."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_heads import random_head
from test_train import PYTHON, text
from tiny import byte_vocabulary, tiny_engine, tiny_weights
from tiny_gguf import write

from quatrain.lsp_server import adapter_measure, adapting
from quatrain.model import adapter, checkpoint, gguf_file, heads, merging, native, source
from quatrain.model.adapter import AdapterConfig, AdapterFile
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.heads import HeadConfig
from quatrain.model.train import adapter_run, examples
from quatrain.model.train.adapter_trainer import Adapted, EndToEnd, Recipe, Trainer, batch_of, batches
from quatrain.model.train.schedule import rate_at
from quatrain.model.transformer import Transformer

VOCABULARY = byte_vocabulary()
CONFIG = ModelConfig(2, 64, 4, 2, 16, 96, VOCABULARY.size, max_positions=1024, qkv_bias=True)
TRUNK = "5" * 64
KINDS = ["torch-f32", "torch-bf16", *([] if native.available() else ["native"])]


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


def random_adapter(config: ModelConfig, trunk: str, seed: int = 0, strength: float = 0.3) -> AdapterFile:
    random, rank = np.random.default_rng(seed), 4
    weights = {}
    for name in (names := adapter.names_of(config, ["q", "k", "v", "o"])):
        out, width = gguf_file.shapes(config)[name]
        weights[name + ".down"] = random.normal(0, width**-0.5, (rank, width)).astype(np.float16)
        weights[name + ".up"] = random.normal(0, strength, (out, rank)).astype(np.float16)
    return AdapterFile(AdapterConfig(rank, 2.0, names), trunk, {"done": 1}, weights)


def written(tmp_path: Path, model: Path, **options: Any) -> Path:
    """An adapter for a model file."""
    path = tmp_path / f"adapter-{options.get('seed', 0)}-{options.get('strength', 0.3)}.safetensors"
    sha256 = checkpoint.sha256_of(checkpoint.locate(str(model), silent))
    adapter.save(random_adapter(source.read(model).config, sha256, **options), path)
    return path


def test_a_file_keeps_what_it_holds_and_refuses(tmp_path: Path) -> None:
    path, file = tmp_path / "a.safetensors", random_adapter(CONFIG, TRUNK)
    adapter.save(file, path)
    again = adapter.load(path, TRUNK)
    assert again.config == file.config and again.about == file.about and len(again.digest) == 12
    assert all((again.weights[name] == weight).all() for name, weight in file.weights.items())
    with pytest.raises(QuatrainError, match=r"another model.*quatrain train adapter"):
        adapter.load(path, "6" * 64)
    raw = path.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(raw[: len(raw) // 2])
    for missing in ("cut", "none"):
        with pytest.raises(QuatrainError, match="cannot be read"):
            adapter.load(tmp_path / f"{missing}.safetensors", TRUNK)
    less = dict(file.weights)
    first = file.config.names[0]
    for broken, words in ((less | {first + ".up": np.zeros((3, 3))}, "expected rank 4"), ({}, "is missing")):
        adapter.save(replace(file, weights=broken), path)
        with pytest.raises(QuatrainError, match=words):
            adapter.load(path, TRUNK)
    with pytest.raises(QuatrainError, match="not finite"):
        adapter.save(replace(file, weights={first + ".up": np.full((2, 2), np.inf)}), path)
    with pytest.raises(QuatrainError, match="no matrices 'x'"):
        adapter.names_of(CONFIG, ["x"])


def test_heads_and_adapters_do_not_take_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "FOLDER", tmp_path)
    monkeypatch.setattr(adapter, "FOLDER", tmp_path)
    adapter.save(random_adapter(CONFIG, TRUNK), tmp_path / "a.safetensors")
    assert heads.found(TRUNK, heads.SHIPPED) is None
    with pytest.raises(QuatrainError, match="--adapter"):
        heads.load(tmp_path / "a.safetensors", TRUNK)
    heads.save(random_head(HeadConfig((2,), (), 64, 4, 2, 16, 96), np.arange(9)), tmp_path / "b.safetensors")
    with pytest.raises(QuatrainError, match="is no adapter"):
        adapter.load(tmp_path / "b.safetensors", TRUNK)
    assert heads.shipped(TRUNK) == tmp_path / "b.safetensors"
    assert adapter.shipped() == {TRUNK: tmp_path / "a.safetensors"}
    assert adapter.found(TRUNK, "auto") and not adapter.found("6" * 64, "auto") and not adapter.found(TRUNK, "none")


def merged_by_hand(model: Path, file: AdapterFile, name: str) -> np.ndarray:
    up, down = (file.weights[f"{name}.{part}"].astype(np.float32) for part in ("up", "down"))
    return gguf_file.dense(source.read(model).tensors[name]) + file.config.scale * up @ down


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_converted_weights_hold_the_adapter(home: Path, tmp_path: Path, kind: str, architecture: str) -> None:
    model = write(tmp_path / "m.gguf", architecture)
    path = written(tmp_path, model)
    plain = checkpoint.open_engine(str(model), kind, silent, adapter="none")
    engine = checkpoint.open_engine(str(model), kind, silent, adapter=str(path))
    read = source.read(model)
    file = adapter.load(path, checkpoint.sha256_of(checkpoint.locate(str(model), silent)))
    weights = {name: torch.tensor(gguf_file.dense(tensor)) for name, tensor in read.tensors.items()}
    weights |= {name: torch.tensor(merged_by_hand(model, file, name)) for name in file.config.names}
    weights["output.weight"] = weights.pop("token_embd.weight")
    ids = engine.vocabulary.encode("def f(self):\n    return self")
    wanted = Transformer(read.config, weights)
    expected = wanted.forward(ids, 0, wanted.allocate(64), range(len(ids))).logits
    with_it, without = (e.trunk.forward(ids, 0, e.cache.storage, range(len(ids))).logits for e in (engine, plain))  # type: ignore[arg-type]
    error = np.abs(with_it - expected).max() / np.abs(expected).max()
    assert error < (1e-4 if kind == "torch-f32" else 0.06)
    assert np.abs(without - expected).max() / np.abs(expected).max() > 3 * error
    assert "with adapter" in engine.name and "adapter" not in plain.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_adapter_changes_nothing(home: Path, tmp_path: Path, kind: str) -> None:
    model = write(tmp_path / "m.gguf")
    path = written(tmp_path, model, strength=0.0)
    plain = checkpoint.converted(str(model), kind, silent, "none")
    zero = checkpoint.converted(str(model), kind, silent, str(path))
    assert plain.folder != zero.folder
    assert (plain.folder / "weights.safetensors").read_bytes() == (zero.folder / "weights.safetensors").read_bytes()


def test_folders_of_models_take_adapters(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tiny_folder import hugging_face

    hugging_face(tmp_path / "model", "qwen2")
    path = written(tmp_path, tmp_path / "model")
    made = checkpoint.converted(str(tmp_path / "model"), "torch-f32", silent, str(path))
    trunk: Any = checkpoint.open_trunk(made)
    file = adapter.load(path, checkpoint.trunk_of(made).partition("+")[0])
    name = file.config.names[3]
    np.testing.assert_allclose(trunk.weights[name], merged_by_hand(tmp_path / "model", file, name), atol=1e-6)


def test_each_adapter_has_its_folder_and_its_trunk(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write(tmp_path / "m.gguf")
    name = str(model)
    plain = checkpoint.converted(name, "torch-f32", silent)
    assert plain.folder.name == checkpoint.locate(name, silent).key + "-torch-f32-v2"  # as before there were adapters
    paths = [written(tmp_path, model, seed=seed) for seed in (1, 2)]
    one, two = (checkpoint.converted(name, "torch-f32", silent, str(path)) for path in paths)
    assert len({plain.folder, one.folder, two.folder}) == 3
    trunks = [checkpoint.trunk_of(each) for each in (plain, one, two)]
    assert trunks[1:] == [f"{trunks[0]}+{each.adapter}" for each in (one, two)]
    messages: list[str] = []
    checkpoint.open_engine(name, "torch-f32", lambda said, *_: messages.append(said), adapter=str(paths[0]))
    assert messages == ["loading m"]
    config = source.read(model).config
    shape = (config.width, config.heads, config.kv_heads, config.head_dim, 96)
    for own, other in ((plain, one), (one, plain), (one, two)):
        head = replace(random_head(HeadConfig((2,), (), *shape), np.arange(9)), trunk=checkpoint.trunk_of(own))
        heads.save(head, tmp_path / "head.safetensors")
        assert heads.found(checkpoint.trunk_of(own), str(tmp_path / "head.safetensors"))
        with pytest.raises(QuatrainError, match="with adapter"):
            checkpoint.open_converted(other, silent, head=str(tmp_path / "head.safetensors"))
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    paths[0].rename(shipped / "a.safetensors")
    monkeypatch.setattr(adapter, "FOLDER", shipped)
    assert checkpoint.converted(name, "torch-f32", silent) == one
    monkeypatch.setattr(checkpoint, "sha256_of", lambda model: pytest.fail("the card says it"))
    assert checkpoint.converted(name, "torch-f32", silent, "none") == plain
    assert checkpoint.converted(name, "torch-f32", silent) == one


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = source.read(write(tmp_path / "m.gguf"))
    with pytest.raises(QuatrainError, match=r"the adapter's blk\.0\.attn_k\.weight is .* the model's"):
        merging.applied(model, random_adapter(replace(model.config, kv_heads=2), TRUNK))


def network(rank: int = 4, seed: int = 0) -> Adapted:
    shape = AdapterConfig(rank, 2.0, adapter.names_of(CONFIG, ["q", "k", "v", "o"]))
    return Adapted(CONFIG, tiny_weights(CONFIG, 2), shape, seed)


def documents(count: int = 24) -> tuple[examples.Packed, list[adapting.Hole]]:
    texts = [text("a.py"), text("b.py", PYTHON.replace("value", "number"))]
    made = list(adapting.holes(texts, count, 0, tiny_engine()))
    return examples.pack([each.example for each in made], "v"), made


def test_documents_end_to_end_do_not_see_each_other() -> None:
    packed, _ = documents(6)
    one = network()
    made = batch_of(packed, [0, 3, 5], torch.device("cpu"))
    with torch.no_grad():
        for _, up in one.pairs.values():
            up.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
        together, _ = one.states(made.ids, EndToEnd(made.lengths, (one.cos, one.sin)))
        apart = [one.hidden(ids, 0, one.allocate(len(ids)))[0] for ids in made.ids.split(list(made.lengths))]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-4)


def test_holes_are_whole_and_as_the_product_shows_them() -> None:
    packed, made = documents(40)
    engine = tiny_engine()
    assert made == list(documents(40)[1])
    assert {each.kind for each in made} == set(adapting.SHARES)
    end = engine.vocabulary.marker("<|endoftext|>")
    for number, each in enumerate(made):
        learned = each.example
        assert learned.middle[-1] == end and len(learned.middle) <= adapting.MOST_MIDDLE + 1
        written = engine.vocabulary.decode((*learned.prompt[learned.prefix :], *learned.middle))
        assert written.endswith(each.expected)
        forced = each.prompt.forced.decode()
        assert written.removesuffix(each.expected).endswith(forced)
        said = engine.vocabulary.decode(learned.prompt[len(each.prompt.tokens) :])
        assert forced.startswith(said)  # what is forced whole is not learned
        document = packed.document(number)
        assert document[packed.middle[number] :].tolist() == list(learned.middle)


def test_batches_have_every_document_once_a_turn() -> None:
    packed, _ = documents()
    lengths = packed.starts[1:] - packed.starts[:-1]
    recipe, seen = Recipe(9, batch_tokens=int(3 * lengths.max())), []
    order = batches(packed, recipe)
    while len(seen) < len(packed):
        seen += (chosen := next(order))
        assert sum(lengths[chosen]) <= recipe.batch_tokens
    assert sorted(seen) == list(range(len(packed)))
    rates = [rate_at(step, recipe.steps, recipe.rise, recipe.rate, recipe.last_rate) for step in range(10)]
    assert max(rates) == pytest.approx(recipe.rate) and rates[-1] == pytest.approx(recipe.last_rate)


def test_training_learns_and_a_stopped_run_is_the_same(tmp_path: Path) -> None:
    packed, _ = documents()
    recipe, later = Recipe(30, batch_tokens=1500, rate=1e-2), time.monotonic() + 60
    whole = Trainer(network(), recipe)
    figures = list(whole.train(packed, later))
    assert figures[-1]["loss"] < 0.7 * figures[0]["loss"] and figures[-1]["step"] == 30
    first = Trainer(network(), recipe)
    for row in first.train(packed, later):
        if row["step"] == 11:
            break
    first.save(tmp_path / "c.safetensors")
    second = Trainer(network(seed=5), recipe)
    second.load(tmp_path / "c.safetensors")
    list(second.train(packed, later))
    for name, weight in whole.network.parameters().items():
        assert torch.equal(second.network.parameters()[name], weight)


@pytest.mark.filterwarnings("ignore")  # matplotlib's
def test_a_run_in_slices_writes_an_adapter_that_loads(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tiny_weights(CONFIG, 2), tmp_path / "weights.safetensors")
    trunk = adapter_run.Trunk(TRUNK, CONFIG, tmp_path / "weights.safetensors")
    shape, recipe = network().adapter, Recipe(4, batch_tokens=1500)
    packed, _ = documents()

    def go(minutes: float, chosen: Recipe = recipe) -> list[dict[str, Any]]:
        return list(
            adapter_run.run(trunk, shape, chosen, (packed, packed), 5, tmp_path / "out", minutes, lambda *said: None)
        )

    stopped = go(1e-9)
    assert stopped[-1]["finished"] == 0.0 and not (tmp_path / "out" / "adapter.safetensors").exists()
    done = go(1.0)
    assert done[-1] == {"step": 4, "finished": 1.0}
    file = adapter.load(tmp_path / "out" / "adapter.safetensors", TRUNK)
    assert file.config == shape and file.about["done"] == 4 and set(file.about["after"]) == {"loss", "text", "end"}
    assert (tmp_path / "out" / "loss.svg").exists()
    with pytest.raises(QuatrainError, match="another steps"):
        go(1.0, replace(recipe, steps=5))


def test_answers_are_compared() -> None:
    engine, (_, made) = tiny_engine(head=None), documents(8)
    answers = [adapter_measure.answer(each, engine) for each in made]
    assert all(
        a.text > 0 and a.end > 0 and a.tokens == len(h.example.middle) - 1 for a, h in zip(answers, made, strict=True)
    )
    right = [replace(a, first=True, whole=True, text=a.text / 2) for a in answers]
    assert adapter_measure.loss(right) == pytest.approx(adapter_measure.loss(answers) / 2)
    assert "1.000" in adapter_measure.table(answers, right)
    assert adapter_measure.verdict(True, True).endswith("both conditions hold")
    assert "not to be shipped" in adapter_measure.verdict(True, False)
