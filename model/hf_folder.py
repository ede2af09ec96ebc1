"""Opens a Hugging Face folder: config.json, safetensors, tokenizer.json. Says what is in it, or why it cannot be used.

A family is a row of FAMILIES. What a family can have and this project does not compute is refused by the name of
its field, never ignored. Knows no arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quatrain.model import gguf_file, tokenizer_json
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.folder_model import FolderModel, StoredTensor, read_json, stored

if TYPE_CHECKING:
    from torch import Tensor

LEAST_WINDOW = 1024
"""A model that looks back less far than this is refused; one that looks back further is held to that many positions,
where its sliding window makes no difference."""


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one `model_type` compute. `epsilon` is the config's name for it."""

    activation: str
    epsilon: str = "rms_norm_eps"
    qk_norm: bool = False
    norm: Literal["rms", "layer"] = "rms"
    feed_forward: Literal["swiglu", "gelu"] = "swiglu"


FAMILIES: Mapping[str, Family] = {
    "llama": Family("silu"),
    "qwen2": Family("silu"),
    "qwen3": Family("silu", qk_norm=True),
    "starcoder2": Family("gelu_pytorch_tanh", "norm_epsilon", norm="layer", feed_forward="gelu"),
}
WHOLE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    **{f"self_attn.{n}_proj": f"attn_{'output' if n == 'o' else n}" for n in "qkvo"},
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def read(path: Path) -> FolderModel:
    """Open the folder. Raises QuatrainError for anything but a whole model of a known family."""
    fields = read_json(path / "config.json")
    family = FAMILIES.get(fields.get("model_type", ""))
    if family is None:
        raise QuatrainError(
            f"{path} holds a {fields.get('model_type')!r} model; "
            f"of Hugging Face folders {', '.join(FAMILIES)} are read."
        )
    tensors = {gguf_name(name, path): tensor for name, tensor in weights(path).items() if "rotary_emb" not in name}
    tied = bool(fields.get("tie_word_embeddings", "output.weight" not in tensors))
    if tied:
        tensors.pop("output.weight", None)
    elif "output.weight" not in tensors:
        raise QuatrainError(f"{path} has no tensor lm_head.weight, and config.json says it is not tied to the input.")
    refuse(path, fields, family)
    config = config_of(path, fields, family, tensors)
    gguf_file.check(path, config, tensors)
    if unknown := tensors.keys() - gguf_file.shapes(config).keys():
        raise QuatrainError(f"{path} has a tensor that its family does not have here: {min(unknown)}.")
    return FolderModel(path, config, tensors, tied, partial(tokenizer_json.read, path / "tokenizer.json", config.vocab))


def refuse(path: Path, fields: Mapping[str, Any], family: Family) -> None:
    """Raise QuatrainError for what would be computed wrongly, naming the field."""
    rope = rope_of(fields)
    kind = rope.get("rope_type", rope.get("type", "default"))
    wrong = {
        "rope_scaling (rope_parameters)": kind != "default" and kind,
        "partial_rotary_factor": rope.get("partial_rotary_factor", fields.get("partial_rotary_factor", 1)) != 1,
        "quantization_config": "quantization_config" in fields,
        "hidden_act": (found := fields.get("hidden_act", family.activation)) != family.activation and found,
        "sliding_window": (window := window_of(fields)) is not None and window < LEAST_WINDOW and window,
    }
    for field, value in wrong.items():
        if value:
            said = "" if value is True else f" {value!r}"
            raise QuatrainError(f"{path / 'config.json'}: {field}{said} is not supported.")


def rope_of(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rotary settings: newer files have one object for all of them, older ones a scaling if there is one."""
    return fields.get("rope_parameters") or fields.get("rope_scaling") or {}


def window_of(fields: Mapping[str, Any]) -> int | None:
    """How many positions a sliding window covers in some layer, if there is one."""
    window = fields.get("sliding_window")
    used = fields.get("use_sliding_window", fields.get("model_type") == "starcoder2")
    return int(window) if window is not None and used else None


def config_of(
    path: Path, fields: Mapping[str, Any], family: Family, tensors: Mapping[str, StoredTensor]
) -> ModelConfig:
    """The shape of the model. Biases are told by the tensors that are there."""
    try:
        width, heads = int(fields["hidden_size"]), int(fields["num_attention_heads"])
        theta = rope_of(fields).get("rope_theta", fields.get("rope_theta", 10_000.0))
        return ModelConfig(
            layers=int(fields["num_hidden_layers"]),
            width=width,
            heads=heads,
            kv_heads=int(fields.get("num_key_value_heads") or heads),
            head_dim=int(fields.get("head_dim") or width // heads),
            ffn=int(fields["intermediate_size"]),
            vocab=int(fields["vocab_size"]),
            rope_theta=float(theta),
            rms_eps=float(fields[family.epsilon]),
            max_positions=min(
                int(fields.get("max_position_embeddings", 2048)),
                window_of(fields) or gguf_file.MAX_POSITIONS,
                gguf_file.MAX_POSITIONS,
            ),
            qkv_bias="blk.0.attn_q.bias" in tensors,
            out_bias="blk.0.attn_output.bias" in tensors,
            ffn_bias="blk.0.ffn_down.bias" in tensors,
            qk_norm=family.qk_norm,
            norm=family.norm,
            activation=family.feed_forward,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise QuatrainError(f"{path / 'config.json'} lacks a setting or has a wrong one ({error}).") from error


def weights(path: Path) -> dict[str, StoredTensor]:
    """All tensors of the folder, still in their files, by their names there."""
    index = path / "model.safetensors.index.json"
    named = read_json(index).get("weight_map", {}) if index.is_file() else {"": "model.safetensors"}
    found: dict[str, StoredTensor] = {}
    for file in sorted(set(named.values())):
        found |= {name: stored(name, tensor, path / file) for name, tensor in open_file(path / file).items()}
    return found


def open_file(path: Path) -> dict[str, Tensor]:
    """Memory-mapped tensors of one file."""
    if not path.is_file():
        said = "only .bin files; convert them to safetensors" if [*path.parent.glob("*.bin")] else "not a whole model"
        raise QuatrainError(f"{path.parent} has no {path.name}: {said}.")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise QuatrainError(f"{path} is damaged or cut short ({error}). Get the file again.") from error


def gguf_name(name: str, path: Path) -> str:
    """Our name of a tensor, for example `model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`.

    Raises QuatrainError for one we do not know.
    """
    stem, _, kind = name.rpartition(".")
    if kind in ("weight", "bias"):
        if stem in WHOLE:
            return f"{WHOLE[stem]}.{kind}"
        parts = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
        if parts and parts[2] in PARTS:
            return f"blk.{parts[1]}.{PARTS[parts[2]]}.{kind}"
    raise QuatrainError(f"{path} has a tensor that no known family has: {name}.")
