"""Finds a model, converts it once into a memory-mapped cache for the arithmetic of this machine, opens it.

Knows files and folders; the arithmetic belongs to the trunks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from quatrain.model import fallback, fetch, gpu, heads, native, step_costs, tokenizer
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.converting import CONVERTERS, write_heads
from quatrain.model.engine import LocalEngine

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk

Arithmetic: TypeAlias = str
"""`auto`, `native` (our kernels), `native-PATH` with one of `native.isa_paths()`, a row of OPENERS, or `torch`:
whichever of torch's own on the CPU is the fastest here."""
FORMAT = 2
"""Version of the converted files; a change here converts again."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model file on this machine. `key` names its converted folder."""

    name: str
    path: Path
    key: str


@dataclass(frozen=True, slots=True)
class Converted:
    """A model's folder of converted files, its name, and the arithmetic (never `auto`) that it is to be opened for."""

    folder: Path
    name: str
    arithmetic: str


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
    return open_converted(converted(name, arithmetic, report), report, **options)


def converted(name: str, arithmetic: Arithmetic, report: fetch.Report) -> Converted:
    """The converted form of the model `name`, made first where it is not there yet."""
    wanted = candidates(arithmetic)
    return ready(name, wanted, report) or prepare(name, wanted, report)


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
    costs = {"costs": known} if known else {}
    return LocalEngine(trunk, tokenizer.load(model.folder), model.name, **costs | options)


def ready(name: str, wanted: Sequence[str], report: fetch.Report) -> Converted | None:
    """The converted form of a model that is already there; takes no lock and downloads nothing."""
    known = fetch.MODELS.get(name or fetch.DEFAULT)
    if known is not None and not fetch.path_of(known).is_file():
        return None
    model = locate(name, report)
    for arithmetic in wanted:
        if arithmetic == fallback.NAME:
            if (choice := fallback.remembered()) is None:
                continue
            arithmetic = choice.kind
        folder = folder_of(model, arithmetic)
        if (folder / "card.json").is_file() and not better_possible(arithmetic, wanted, folder):
            return Converted(folder, model.name, arithmetic)
    return None


def better_possible(arithmetic: str, wanted: Sequence[str], folder: Path) -> bool:
    """Whether what was converted earlier, perhaps before there was a compiler, is the second choice by now."""
    first = kind_of(wanted[0])
    return first == "native" and kind_of(arithmetic) != first and native.unsupported(read_card(folder)[1]) is None


def prepare(name: str, wanted: Sequence[str], report: fetch.Report) -> Converted:
    """Fetch and convert, one process at a time."""
    with fetch.exclusive(report):
        model = locate(name, report)
        if done := ready(name, wanted, report):
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
    return fetch.home() / "converted" / f"{model.key}-{kind_of(resolved)}-v{FORMAT}"


def convert(model: Model, wanted: Sequence[str], report: fetch.Report) -> Converted:
    """Write tokenizer and weights for the first arithmetic that can compute the model, whole or not at all."""
    from quatrain.model import source as sources

    report(f"reading {model.path.name}", 0, 0)
    source = sources.read(model.path)
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
        about |= {"chained": source.chained}
        card = {"arithmetic": kind, "config": asdict(source.config)} | about
        (partial / "card.json").write_text(json.dumps(card, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Converted(folder, model.name, chosen)


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
    """The sha256 of the file that a converted model came from; empty where its card does not say."""
    known = fetch.MODELS.get(model.name)
    return known.sha256 if known else json.loads((model.folder / "card.json").read_text()).get("sha256", "")


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


def open_native(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """Our kernels over memory-mapped packed weights."""
    return native.NativeTrunk(config, native.open_packed(weights), isa=path, taps=taps)


def open_torch(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk over memory-mapped weights."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.transformer import Transformer

    tensors = load_file(weights)
    # torch's packed int8 product needs aligned rows, which a mapped file does not promise
    aligned = {name: t.clone() if t.dtype == torch.int8 else t for name, t in tensors.items()}
    return Transformer(config, aligned, taps)


def open_cuda(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk on an NVIDIA GPU, steps recorded as graphs."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.cuda import CudaTransformer

    if not torch.cuda.is_available():
        raise QuatrainError(
            "torch finds no NVIDIA GPU here. It needs a driver and a torch built with CUDA "
            "(https://pytorch.org/get-started); without them use --arithmetic auto."
        )
    return CudaTransformer(config, load_file(weights, device="cuda"), taps)


def open_mps(config: ModelConfig, weights: Path, path: str | None, taps: tuple[int, ...] = ()) -> Trunk:
    """A torch trunk on an Apple GPU. Not tested by us; `auto` does not choose it."""
    import torch
    from safetensors.torch import load_file

    from quatrain.model.transformer import Transformer

    if not torch.backends.mps.is_available():
        raise QuatrainError("torch finds no Apple GPU here; use --arithmetic auto")
    return Transformer(config, load_file(weights, device="mps"), taps)


OPENERS: dict[str, Callable[[ModelConfig, Path, str | None, tuple[int, ...]], Trunk]] = {
    "native": open_native,
    "torch-bf16": open_torch,
    "torch-int8": open_torch,
    "torch-f32": open_torch,
    "cuda": open_cuda,
    "mps": open_mps,
}
