"""Opens a folder of Meta's: params.json, consolidated.pth, tokenizer.model; with the heads of multi-token checkpoints.

In those, `layers` are the trunk's layers and, as the last one, the next-token head; the other heads lie under
`extra_heads`. All heads read what comes before that last layer, and share one norm and one output (Gloeckle et al.
2024). Knows no arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from quatrain.model import gguf_file, sentence_piece, tokenizer_json
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.folder_model import FolderModel, StoredTensor, read_json, stored

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = {"tok_embeddings.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
WHOLE["output.weight"] = "output.weight"
PARTS = {
    **{f"attention.w{n}": f"attn_{'output' if n == 'o' else n}" for n in "qkvo"},
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
    "attention_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
}
POSITIONS = 4096
"""What the released multi-token models were trained on, for a params.json that does not say."""


def read(path: Path) -> FolderModel:
    """Open the folder. Raises QuatrainError for anything but a whole checkpoint in Meta's Llama layout."""
    params = read_json(path / "params.json")
    tensors: dict[str, StoredTensor] = {}
    heads: dict[str, StoredTensor] = {}
    file = weights_file(path)
    for name, tensor in load(file).items():
        if name.startswith("rope."):
            continue
        target, ours = (heads, name.removeprefix("extra_")) if name.startswith("extra_heads.") else (tensors, name)
        target[gguf_name(ours, file)] = stored(name, tensor, file)
    config, count = config_of(path, params, tensors)
    gguf_file.check(file, config, tensors)
    check_heads(file, replace(config, layers=count), heads)
    if unknown := tensors.keys() - gguf_file.shapes(config).keys():
        raise QuatrainError(f"{file} has more layers than params.json says: {min(unknown)}.")
    return FolderModel(
        path, config, tensors, False, tokenizer_of(path, config.vocab), heads, count, chained(path, params)
    )


def config_of(path: Path, params: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> tuple[ModelConfig, int]:
    """The trunk's shape with the next-token head as its last layer, and the number of other heads."""
    if params.get("use_scaled_rope"):
        raise QuatrainError(f"{path / 'params.json'}: use_scaled_rope is not supported.")
    if params.get("moe") or params.get("quantization_args"):
        raise QuatrainError(f"{path / 'params.json'}: mixtures of experts and quantised weights are not supported.")
    try:
        width, heads, extra = int(params["dim"]), int(params["n_heads"]), int(params.get("n_future_tokens", 1)) - 1
        config = ModelConfig(
            layers=int(params["n_layers"]) - extra,
            width=width,
            heads=heads,
            kv_heads=int(params.get("n_kv_heads") or heads),
            head_dim=width // heads,
            ffn=int(tensors["blk.0.ffn_up.weight"].shape[1]),  # a formula over `multiple_of` gives the same
            vocab=int(tensors["token_embd.weight"].shape[1]),
            rope_theta=float(params.get("rope_theta", 10_000.0)),
            rms_eps=float(params["norm_eps"]),
            max_positions=min(int(params.get("max_seq_len", POSITIONS)), gguf_file.MAX_POSITIONS),
            rope_interleaved=True,
        )
        stated = int(params.get("vocab_size", -1))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise QuatrainError(f"{path} lacks a setting or a tensor, or has a wrong one ({error}).") from error
    if stated not in (-1, config.vocab) or extra < 0 or config.layers < 1:
        raise QuatrainError(
            f"{path / 'params.json'} and the weights do not belong together: vocab_size {stated} for {config.vocab} "
            f"rows, {config.layers} layers beside {extra} extra heads."
        )
    return config, extra


def chained(path: Path, params: Mapping[str, Any]) -> bool:
    """Whether each head reads what the one before it made, as our own trainer's causal design. Meta's do not."""
    design = params.get("heads_design", "parallel")
    if design not in ("parallel", "causal"):
        raise QuatrainError(f"{path / 'params.json'}: heads_design {design!r} is not known; parallel and causal are.")
    return design == "causal"


def check_heads(file: Path, config: ModelConfig, heads: Mapping[str, StoredTensor]) -> None:
    """Every head is whole and there are as many as params.json says. `config.layers` is their number."""
    expected = {name: shape for name, shape in gguf_file.shapes(config).items() if name.startswith("blk.")}
    found = {name: tuple(reversed(tensor.shape)) for name, tensor in heads.items()}
    wrong = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    if wrong:
        theirs = min(wrong).replace("blk.", "extra_heads.")
        raise QuatrainError(
            f"{file} does not hold the {config.layers} extra heads that n_future_tokens in params.json tells of "
            f"({theirs} is missing, too much, or of another shape)."
        )


def weights_file(path: Path) -> Path:
    """The one file of weights. QuatrainError when there is none, or when they are split over several GPUs."""
    found = sorted(path.glob("consolidated*.pth"))
    if len(found) != 1:
        said = "no consolidated.pth" if not found else f"{len(found)} files consolidated*.pth; join them into one first"
        raise QuatrainError(f"{path} has {said}.")
    return found[0]


def load(file: Path) -> dict[str, Tensor]:
    """The file's tensors, memory-mapped; nothing in it is executed."""
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, UnpicklingError, EOFError, ValueError, OSError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise QuatrainError(f"{file} is damaged, cut short or not plain tensors ({first}). Get it again.") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise QuatrainError(f"{file} does not hold a plain table of tensors.")
    return found


def gguf_name(name: str, file: Path) -> str:
    """Our name of a tensor, for example `layers.3.attention.wq.weight` -> `blk.3.attn_q.weight`."""
    if name in WHOLE:
        return WHOLE[name]
    parts = re.fullmatch(r"(?:layers|heads)\.(\d+)\.(.+)\.weight", name)
    if parts and parts[2] in PARTS:
        return f"blk.{parts[1]}.{PARTS[parts[2]]}.weight"
    raise QuatrainError(f"{file} has a tensor that Meta's Llama layout does not have: {name}.")


def tokenizer_of(path: Path, vocab: int) -> Any:
    """Builds the tokenizer: Meta's, or a tokenizer.json such as our own trainer writes."""
    if (path / "tokenizer.json").is_file() and not (path / "tokenizer.model").is_file():
        return partial(tokenizer_json.read, path / "tokenizer.json", vocab)
    return partial(sentence_piece.read, path / "tokenizer.model", vocab)
