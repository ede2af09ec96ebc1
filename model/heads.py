"""Draft heads as files: which trunk they belong to, how they are shaped, what they hold; and as a draft source.

A file is safetensors: int8 matrices with a half scale for each group of 32 inputs (`NAME` and `NAME.scale`), norms
and biases in float32, the draft vocabulary as int32. Its metadata says which trunk it was trained for, and with
another trunk it is refused. Knows numpy; the arithmetic is `causal_head` (torch) or `native.head`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from quatrain.model.api import QuatrainError
from quatrain.model.draft import Draft
from quatrain.model.native import NativeTrunk
from quatrain.model.native.head import NativeHead

FOLDER = Path(__file__).parent / "weights"
"""The heads that come with Quatrain."""
SHIPPED = "auto"
ADAPTER = "adapter"
"""What the metadata of the other kind of file in that folder say; a draft head's say nothing of a kind."""
FORMAT = 1
GROUP = 32
FLOOR = 0.25
"""A draft ends where the head finds it less probable than this, all its tokens together."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """A draft head. It reads the trunk's states after `taps` layers, and the keys and values of the layers
    `attends`; `heads`, `kv_heads`, `head_dim` and the rotation are the trunk's.

    `design` is "causal": one layer applied again for each drafted token, on that token's embedding and its own last
    state; or "parallel": a layer of its own for each of `count` tokens, all on the trunk's state, with a bias of
    rank `bias` from the token before (0: none).
    """

    taps: tuple[int, ...]
    attends: tuple[int, ...]
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rms_eps: float = 1e-6
    rope_theta: float = 1e6
    rope_interleaved: bool = False
    design: str = "causal"
    count: int = 1
    bias: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """What the names of each layer's weights begin with."""
        return ("",) if self.design == "causal" else tuple(f"head.{i}." for i in range(self.count))


@dataclass(frozen=True, slots=True)
class HeadFile:
    """A file's content: `weights` as in the module's docstring, `about` says how they came to be."""

    config: HeadConfig
    trunk: str
    about: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]


def shapes(config: HeadConfig, vocabulary: int = 0) -> dict[str, tuple[int, ...]]:
    """(out, in) of every matrix and the length of every vector but the draft vocabulary, of which a bias needs the
    size."""
    w = config.width
    found: dict[str, tuple[int, ...]] = {"tap_norms": (len(config.taps), w), "fuse": (w, len(config.taps) * w)}
    if config.design == "causal":
        found |= {"state_norm": (w,), "token_norm": (w,), "join": (w, 2 * w)}
    if config.bias:
        found |= {"bias.down": (config.bias, w), "bias.up": (vocabulary, config.bias)}
    for prefix in config.layers:
        found |= {prefix + name: shape for name, shape in layer_shapes(config).items()}
    return found


def layer_shapes(config: HeadConfig) -> dict[str, tuple[int, ...]]:
    """Of one layer: attention blocks, feed-forward, the norm before the unembedding."""
    w, inner = config.width, config.heads * config.head_dim
    found: dict[str, tuple[int, ...]] = {}
    for i in range(len(config.attends)):
        block = {"norm": (w,), "q": (inner, w), "q_bias": (inner,), "o": (w, inner)}
        found |= {f"block.{i}.{name}": shape for name, shape in block.items()}
    feed = {"gate": (config.ffn, w), "up": (config.ffn, w), "down": (w, config.ffn)}
    return found | {"ffn_norm": (w,)} | feed | {"final_norm": (w,)}


MATRICES = frozenset({"fuse", "join", "gate", "up", "down", "q", "o"})


def is_matrix(name: str) -> bool:
    """Whether a weight is stored as int8: all that a product reads."""
    return name.rsplit(".", 1)[-1] in MATRICES


def quantise(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 levels (out, in) and half scales (out, in / 32) of a float matrix."""
    from quatrain.model.native.gguf_levels import quantise  # for training only: it brings a reader of model files

    rounded = quantise(matrix.astype(np.float32))
    return (rounded.level.astype(np.int16) - 128).astype(np.int8), rounded.scale


def dense(file: HeadFile, name: str) -> np.ndarray:
    """A weight as float32."""
    held = file.weights[name]
    if not is_matrix(name):
        return held
    scale = file.weights[name + ".scale"].astype(np.float32)
    return (held.reshape(len(held), -1, GROUP) * scale[..., None]).reshape(held.shape).astype(np.float32)


def pack(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Trained floats as a file holds them."""
    out: dict[str, np.ndarray] = {}
    for name, weight in weights.items():
        if is_matrix(name):
            out[name], out[name + ".scale"] = quantise(weight)
        else:
            out[name] = weight
    return out


def save(file: HeadFile, path: Path) -> None:
    """Write a head, whole or not at all."""
    config, about = json.dumps(asdict(file.config)), json.dumps(dict(file.about))
    partial = path.with_name(path.name + ".partial")
    arrays = {name: np.ascontiguousarray(array) for name, array in file.weights.items()}
    save_file(arrays, partial, {"format": str(FORMAT), "trunk": file.trunk, "config": config, "about": about})
    partial.replace(path)


def load(path: Path, trunk: str) -> HeadFile:
    """Read a head for the trunk whose file has the sha256 `trunk`. QuatrainError when it belongs to another one,
    or is no such file."""
    try:
        with safe_open(path, "np") as held:
            about = held.metadata() or {}
            weights = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise QuatrainError(f"{path} cannot be read as a draft head ({error})") from error
    if about.get("kind") == ADAPTER:
        raise QuatrainError(f"{path} is an adapter, not a draft head: give it with --adapter")
    if about.get("format") != str(FORMAT) or "config" not in about:
        raise QuatrainError(
            f"{path} is no draft head of this version of Quatrain; train it again: quatrain train heads"
        )
    if about["trunk"] != trunk:
        raise QuatrainError(
            f"{path} was trained for another model (sha256 {short(about['trunk'])}, this one is {short(trunk)}). "
            "Leave it out, or train one for this model: quatrain train heads"
        )
    config = json.loads(about["config"])
    config |= {name: tuple(config[name]) for name in ("taps", "attends")}
    file = HeadFile(HeadConfig(**config), about["trunk"], json.loads(about["about"]), weights)
    check(file, path)
    return file


def short(trunk: str) -> str:
    """A trunk's name for a message: the beginning of its sha256, and its adapter if it has one."""
    sha256, _, adapter = trunk.partition("+")
    return sha256[:12] + (f" with adapter {adapter}" if adapter else "")


def check(file: HeadFile, path: Path) -> None:
    """QuatrainError when a weight is missing or misshapen."""
    if "vocabulary" not in file.weights:
        raise QuatrainError(f"{path} has no draft vocabulary")
    for name, shape in shapes(file.config, len(file.weights["vocabulary"])).items():
        found = file.weights.get(name)
        if found is None or found.shape != shape or (is_matrix(name) and name + ".scale" not in file.weights):
            raise QuatrainError(f"{path}: {name} is {'missing' if found is None else found.shape}, expected {shape}")


def found(trunk: str, wanted: str) -> HeadFile | None:
    """The head to use with a trunk: `wanted` is a file, "none", or SHIPPED for the one that comes with Quatrain, if
    one does. Raises QuatrainError for a file that cannot be used with it."""
    if wanted == "none":
        return None
    path = shipped(trunk) if wanted == SHIPPED else Path(wanted).expanduser()
    return load(path, trunk) if path else None


def shipped(trunk: str) -> Path | None:
    """The head that comes with Quatrain for this trunk."""
    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, "np") as held:
            about = held.metadata() or {}
        if about.get("trunk") == trunk and about.get("kind") != ADAPTER:
            return path
    return None


Drafter: TypeAlias = Callable[[np.ndarray, int, int, int], tuple[list[int], list[float]]]
"""(state (taps, width) at the last position, token said there, positions in the cache, limit) -> ids, probabilities."""


class HeadDraft:
    """A draft source over a head that reads the trunk's cache and keeps nothing of its own but the last state."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.state: np.ndarray | None = None
        self.position = -1

    def observe(self, position: int, states: np.ndarray) -> None:
        if len(states):
            self.state, self.position = states[-1], position + len(states) - 1

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        if self.state is None or self.position != len(tokens) - 2:
            return Draft()  # the prompt's last piece comes first
        ids, probs = self.drafter(self.state, tokens[-1], self.position + 1, limit)
        return Draft(tuple(ids), "head", tuple(probs))


def source_over(file: HeadFile, trunk: Any, floor: float = FLOOR) -> Callable[[Any], HeadDraft]:
    """What makes a draft source of a head, once there is a cache for it to read."""

    def over(storage: Any) -> HeadDraft:
        if isinstance(trunk, NativeTrunk) and file.config.design == "causal":
            head = NativeHead(file.config, file.weights, trunk)
            return HeadDraft(
                lambda state, token, length, limit: head.draft(state, token, length, storage, limit, floor)
            )
        from quatrain.model.torch_head import TorchDrafter

        return HeadDraft(TorchDrafter(file, trunk, storage, floor))

    return over
