"""Finds a model, converts it once into a memory-mapped cache for the arithmetic of this machine, opens it.

Knows files and folders; the arithmetic belongs to the trunks.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from quatrain.model import adapter as adapters
from quatrain.model import fallback, fetch, gpu, heads, native, step_costs, tokenizer
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.converting import CONVERTERS, write_heads
from quatrain.model.engine import LocalEngine
from quatrain.model.openers import OPENERS

if TYPE_CHECKING:
    from quatrain.model.adapter import AdapterFile
    from quatrain.model.decode import Trunk

Arithmetic: TypeAlias = str
"""`auto`, `native` (our kernels), `native-PATH` with one of `native.isa_paths()`, a row of OPENERS, or `torch`:
whichever of torch's own on the CPU is the fastest here."""
FORMAT = 2
"""Version of the converted files; a change here converts again."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model file on this machine. `key` names its converted folder, `adapter` goes into its weights there."""

    name: str
    path: Path
    key: str
    adapter: AdapterFile | None = None

    @property
    def digest(self) -> str:
        """Which adapter; empty for none."""
        return self.adapter.digest if self.adapter else ""


@dataclass(frozen=True, slots=True)
class Converted:
    """A model's folder of converted files, its name, and the arithmetic (never `auto`) that it is to be opened for.
    `adapter` tells which one is in the weights, if one is."""

    folder: Path
    name: str
    arithmetic: str
    adapter: str = ""


def locate(name: str, report: fetch.Report) -> Model:
    """A known model by name, fetched if need be, or any file or folder by path. Call inside `fetch.exclusive`."""
    known = fetch.MODELS.get(name or fetch.DEFAULT)
    if known is not None:
        path = fetch.fetch(known, report)
        return Model(known.name, path, f"{known.name}-{known.sha256[:12]}")
    path = Path(name).expanduser()
    if not path.exists():
        raise QuatrainError(
            f"no model named {name!r} and no such file. Known models: {', '.join(fetch.MODELS)}; or give the path "
            "of a GGUF file, or of a folder with config.json (Hugging Face) or params.json (Meta)."
        )
    path = path.resolve()
    stats = [(file.name, file.stat()) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    found = "|".join([str(path), *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)])
    title = path.name if path.is_dir() else path.stem
    return Model(title, path, f"{title}-{hashlib.sha256(found.encode()).hexdigest()[:12]}")


def open_engine(name: str, arithmetic: Arithmetic, report: fetch.Report, **options: Any) -> LocalEngine:
    """An engine for the model `name`, downloading and converting first where that was not done yet.

    Raises QuatrainError with what to do about it.
    """
    adapter = options.pop("adapter", heads.SHIPPED)
    return open_converted(converted(name, arithmetic, report, adapter), report, **options)


def converted(name: str, arithmetic: Arithmetic, report: fetch.Report, adapter: str = heads.SHIPPED) -> Converted:
    """The converted form of the model `name`, made first where it is not there yet. `adapter`: see `adapter.found`."""
    wanted = candidates(arithmetic)
    return ready(name, wanted, report, adapter) or prepare(name, wanted, report, adapter)


def open_trunk(model: Converted, taps: tuple[int, ...] = ()) -> Trunk:
    """The trunk of converted files. `taps` are the layers whose states it is to show."""
    _, config = read_card(model.folder)
    opener = OPENERS["native" if path_of(model.arithmetic) else model.arithmetic]
    return opener(config, model.folder / "weights.safetensors", path_of(model.arithmetic), taps)


def open_converted(model: Converted, report: fetch.Report, **options: Any) -> LocalEngine:
    """An engine over converted files, with the step costs that were measured for it, if they were."""
    report(f"loading {model.name}", 0, 0)
    option, own = options.pop("head", heads.SHIPPED), head_count(model.folder)
    if own and option == heads.SHIPPED:
        from quatrain.model import independent_heads

        tap = independent_heads.tap_of(read_card(model.folder)[1], chained(model.folder))
        trunk = open_trunk(model, (tap,))
        file = model.folder / "heads.safetensors"
        options["head"] = independent_heads.load(file, trunk, own, chained(model.folder))
    else:
        file = heads.found(trunk_of(model), option)
        trunk = open_trunk(model, file.config.taps if file else ())
        if file:
            options["head"] = heads.source_over(file, trunk)
    known = step_costs.load(model.folder, step_costs.key_of(trunk.arithmetic))
    costs: dict[str, Any] = {"costs": known} if known else {}
    title = f"{model.name} with adapter {model.adapter}" if model.adapter else model.name
    return LocalEngine(trunk, tokenizer.load(model.folder), title, **costs | options)


def ready(name: str, wanted: Sequence[str], report: fetch.Report, adapter: str = heads.SHIPPED) -> Converted | None:
    """The converted form of a model that is already there; takes no lock and downloads nothing."""
    known = fetch.MODELS.get(name or fetch.DEFAULT)
    if known is not None and not fetch.path_of(known).is_file():
        return None
    model = adapted(locate(name, report), adapter)
    for arithmetic in wanted:
        if arithmetic == fallback.NAME:
            if (choice := fallback.remembered()) is None:
                continue
            arithmetic = choice.kind
        folder = folder_of(model, arithmetic)
        if (folder / "card.json").is_file() and not better_possible(arithmetic, wanted, folder):
            return Converted(folder, model.name, arithmetic, model.digest)
    return None


def better_possible(arithmetic: str, wanted: Sequence[str], folder: Path) -> bool:
    """Whether what was converted earlier, perhaps before there was a compiler, is the second choice by now."""
    first = kind_of(wanted[0])
    return first == "native" and kind_of(arithmetic) != first and native.unsupported(read_card(folder)[1]) is None


def adapted(model: Model, wanted: str) -> Model:
    """The model with the adapter that is `wanted` for it. A file is hashed only where one could be meant."""
    if wanted == "none" or (wanted == heads.SHIPPED and not adapters.shipped()):
        return model
    return replace(model, adapter=adapters.found(known_sha256(model), wanted))


def known_sha256(model: Model) -> str:
    """`sha256_of`, taken from the card of what was converted from the same file before, if anything was."""
    for card in sorted((fetch.home() / "converted").glob(glob.escape(model.key) + "-*/card.json")):
        if found := json.loads(card.read_text()).get("sha256"):
            return found
    return sha256_of(model)


def prepare(name: str, wanted: Sequence[str], report: fetch.Report, adapter: str = heads.SHIPPED) -> Converted:
    """Fetch and convert, one process at a time."""
    with fetch.exclusive(report):
        model = adapted(locate(name, report), adapter)
        if done := ready(name, wanted, report, adapter):
            return done
        with fetch.disk_errors(fetch.home()):
            return convert(model, wanted, report)


def candidates(arithmetic: Arithmetic) -> tuple[str, ...]:
    """What `arithmetic` stands for on this machine, best first: a model whose shape the first cannot compute
    gets the next. Raises QuatrainError for an unknown or unavailable one."""
    known = ["auto", *OPENERS, fallback.NAME, *(f"native-{path}" for path in native.isa_paths())]
    if arithmetic not in known:
        raise QuatrainError(f"no arithmetic {arithmetic!r} here; available are {', '.join(known)}")
    if arithmetic == "auto":
        best = (*(("cuda",) if gpu.cuda_available() else ()), *(() if native.drawback() else ("native",)))
        return (*best, fallback.NAME)
    if arithmetic == "native" and (reason := native.available()):
        raise QuatrainError(reason)
    return (arithmetic,)


def path_of(resolved: str) -> str | None:
    """The instruction path that `native-PATH` names, if it names one."""
    return resolved.removeprefix("native-") if resolved.startswith("native-") else None


def kind_of(resolved: str) -> str:
    """The kind of converted file: all native paths share one, and GPUs take what torch has in bf16."""
    return "native" if path_of(resolved) else "torch-bf16" if resolved in ("cuda", "mps") else resolved


def folder_of(model: Model, resolved: str) -> Path:
    """Where the converted model lies."""
    key = f"{model.key}-adapter-{model.digest}" if model.adapter else model.key
    return fetch.home() / "converted" / f"{key}-{kind_of(resolved)}-v{FORMAT}"


def convert(model: Model, wanted: Sequence[str], report: fetch.Report) -> Converted:
    """Write tokenizer and weights for the first arithmetic that can compute the model, whole or not at all."""
    from quatrain.model import source as sources

    report(f"reading {model.path.name}", 0, 0)
    source = sources.read(model.path)
    if model.adapter:
        from quatrain.model import merging

        source = merging.applied(source, model.adapter)
    reason = native.unsupported(source.config)
    chosen = next((a for a in wanted if kind_of(a) != "native" or reason is None), None)
    if chosen is None:
        raise QuatrainError(f"the native kernels cannot run this model ({reason}); use --arithmetic {fallback.NAME}")
    if chosen == fallback.NAME:
        report("measuring which of torch's arithmetics is the fastest", 0, 0)
        chosen = (fallback.remembered() or fallback.choose(source.config)).kind
    folder, kind = folder_of(model, chosen), kind_of(chosen)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tokenizer.save(partial, *source.tokenizer())
        CONVERTERS[kind](source, partial / "weights.safetensors", report)
        if source.head_count:
            write_heads(source, kind, partial / "heads.safetensors")
        about = {"model": model.name, "sha256": sha256_of(model), "heads": source.head_count}
        about |= {"chained": source.chained} | ({"adapter": model.digest} if model.adapter else {})
        card = {"arithmetic": kind, "config": asdict(source.config)} | about
        (partial / "card.json").write_text(json.dumps(card, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Converted(folder, model.name, chosen, model.digest)


def sha256_of(model: Model) -> str:
    """Of the model's file, or of all that a folder has of weights: what draft heads know their trunk by."""
    known = fetch.MODELS.get(model.name)
    if known is not None:
        return known.sha256
    kinds = {".safetensors", ".pth"}
    files = [model.path] if model.path.is_file() else sorted(f for f in model.path.iterdir() if f.suffix in kinds)
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def trunk_of(model: Converted) -> str:
    """What draft heads know a converted model by: the sha256 of its file (empty where its card does not say) and, if
    an adapter is in its weights, `+` and which one."""
    known = fetch.MODELS.get(model.name)
    sha256 = known.sha256 if known else json.loads((model.folder / "card.json").read_text()).get("sha256", "")
    return f"{sha256}+{model.adapter}" if model.adapter else sha256


def read_card(folder: Path) -> tuple[str, ModelConfig]:
    """Arithmetic and shape of a converted model."""
    card = json.loads((folder / "card.json").read_text())
    return card["arithmetic"], ModelConfig(**card["config"])


def head_count(folder: Path) -> int:
    """How many heads of its own a converted model has beside the next-token head."""
    return json.loads((folder / "card.json").read_text()).get("heads", 0)


def chained(folder: Path) -> bool:
    """Whether those heads read each other, see `FolderModel`."""
    return json.loads((folder / "card.json").read_text()).get("chained", False)
