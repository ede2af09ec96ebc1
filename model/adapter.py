"""Low-rank adapters of a trunk as files: which trunk they belong to, what they change, and which one is to be used.

A file is safetensors: for every adapted matrix, by its GGUF name, `NAME.down` (rank, in) and `NAME.up` (out, rank) in
float16; the adapted matrix is W + scale * up @ down. Its metadata names the trunk it was trained for, and with another
it is refused. Knows files; `merging` puts them into weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.heads import ADAPTER, FOLDER, SHIPPED
from quatrain.model.native.packed import MATRICES

FORMAT = 1


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """`names` are the adapted matrices."""

    rank: int
    scale: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A file's content: `weights` as in the module's docstring, `about` says how they came to be, `digest` is the
    beginning of the file's sha256 (empty before it is one)."""

    config: AdapterConfig
    trunk: str
    about: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    digest: str = ""


def names_of(config: ModelConfig, targets: Sequence[str]) -> tuple[str, ...]:
    """The matrices of all layers that `targets` (keys of MATRICES) mean."""
    known = {key: name for key, name in MATRICES.items() if key != "gate" or config.activation == "swiglu"}
    if unknown := [target for target in targets if target not in known]:
        raise QuatrainError(f"this model has no matrices {unknown[0]!r} to adapt; there are {', '.join(known)}")
    return tuple(f"blk.{i}.{known[target]}.weight" for i in range(config.layers) for target in targets)


def save(file: AdapterFile, path: Path) -> None:
    """Write the file, whole or not at all. QuatrainError for numbers that are none: the training went wrong."""
    weights = {name: weight.astype(np.float16) for name, weight in file.weights.items()}
    if broken := [name for name, weight in weights.items() if not np.isfinite(weight).all()]:
        raise QuatrainError(f"the adapter's {broken[0]} is not finite: train again with a smaller --rate")
    about = {"kind": ADAPTER, "format": str(FORMAT), "trunk": file.trunk}
    about |= {"config": json.dumps(asdict(file.config)), "about": json.dumps(dict(file.about))}
    partial = path.with_name(path.name + ".partial")
    save_file({name: np.ascontiguousarray(weight) for name, weight in weights.items()}, partial, about)
    partial.replace(path)


def load(path: Path, trunk: str) -> AdapterFile:
    """Read a file for a trunk (its sha256). Raises QuatrainError when it is damaged, belongs to another trunk, or is
    no adapter."""
    try:
        with safe_open(path, "np") as held:
            about = held.metadata() or {}
            weights = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except (OSError, SafetensorError) as error:
        raise QuatrainError(f"{path} cannot be read as an adapter ({error})") from error
    if (
        about.get("kind") != ADAPTER
        or about.get("format") != str(FORMAT)
        or not {"config", "trunk", "about"} <= about.keys()
    ):
        raise QuatrainError(f"{path} is no adapter of this version of Quatrain; train one: quatrain train adapter")
    if about["trunk"] != trunk:
        raise QuatrainError(
            f"{path} was trained for another model (sha256 {about['trunk'][:12]}, this one is {trunk[:12]}). "
            "Use --adapter none, or train one for this model: quatrain train adapter"
        )
    config = json.loads(about["config"])
    made = AdapterConfig(int(config["rank"]), float(config["scale"]), tuple(config["names"]))
    file = AdapterFile(made, about["trunk"], json.loads(about["about"]), weights, digest)
    check(file, path)
    return file


def check(file: AdapterFile, path: Path) -> None:
    """QuatrainError when a weight is missing or misshapen."""
    rank = file.config.rank
    for name in file.config.names:
        down, up = file.weights.get(name + ".down"), file.weights.get(name + ".up")
        if down is None or up is None:
            raise QuatrainError(f"{path}: {name} is missing; get the file again")
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != rank or up.shape[1] != rank:
            raise QuatrainError(f"{path}: {name} is {up.shape} times {down.shape}, expected rank {rank}")


def found(trunk: str, wanted: str) -> AdapterFile | None:
    """The adapter to use with a trunk: `wanted` is a file, "none", or SHIPPED for the one that comes with Quatrain, if
    one does. Raises QuatrainError for a file that cannot be used with it."""
    if wanted == "none":
        return None
    path = shipped().get(trunk) if wanted == SHIPPED else Path(wanted).expanduser()
    return load(path, trunk) if path else None


def shipped() -> dict[str, Path]:
    """The adapters that come with Quatrain, by the trunk they are for."""
    there = {}
    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, "np") as held:
            about = held.metadata() or {}
        if about.get("kind") == ADAPTER:
            there.setdefault(about.get("trunk", ""), path)
    return there
