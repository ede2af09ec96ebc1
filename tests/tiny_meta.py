"""Meta's multi-token checkpoints, small: a folder in exactly their layout, and their model computed independently.

The computation follows the published Llama code: complex rotary factors, explicit attention, one batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DIM, HEADS, KV_HEADS, FFN, POSITIONS = 64, 2, 1, 96, 256
TEXT = "def f(self):\n    return self.value + 1\nfor index in range(10):\n    print(index)\n"


@dataclass
class Meta:
    """A checkpoint of `layers` blocks under `layers` and n - 1 under `extra_heads`."""

    state: dict[str, Tensor]
    params: dict[str, object]

    @property
    def n(self) -> int:
        return int(str(self.params["n_future_tokens"]))

    def write(self, folder: Path, vocab: bool = True) -> Path:
        """The folder as released: consolidated.pth, params.json and, trained here, tokenizer.model."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state, folder / "consolidated.pth")
        (folder / "params.json").write_text(json.dumps(self.params))
        if vocab:
            sentence_piece(folder, int(str(self.params["vocab_size"])))
        return folder

    def all_logits(self, ids: list[int]) -> Tensor:
        """(positions, n, vocab): what every head says at every position."""
        x = self.state["tok_embeddings.weight"][torch.tensor(ids)].float()  # (t, dim)
        layers = 1 + max(int(name.split(".")[1]) for name in self.state if name.startswith("layers."))
        for i in range(layers - 1):
            x = self.block(x, f"layers.{i}.")
        heads = [f"layers.{layers - 1}."] + [f"extra_heads.{j}." for j in range(self.n - 1)]
        latents = torch.stack([self.block(x, name) for name in heads], dim=-2)  # (t, n, dim)
        return self.norm(latents, "norm") @ self.state["output.weight"].float().T

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean + float(str(self.params["norm_eps"]))) * self.state[f"{name}.weight"].float()

    def block(self, x: Tensor, name: str) -> Tensor:
        def w(part: str) -> Tensor:
            return self.state[f"{name}{part}.weight"].float().T

        y, t, size = self.norm(x, name + "attention_norm"), len(x), DIM // HEADS
        q = self.turn((y @ w("attention.wq")).view(t, HEADS, size))
        k = self.turn((y @ w("attention.wk")).view(t, KV_HEADS, size)).repeat_interleave(HEADS // KV_HEADS, 1)
        v = (y @ w("attention.wv")).view(t, KV_HEADS, size).repeat_interleave(HEADS // KV_HEADS, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / size**0.5
        scores = scores + torch.full((t, t), float("-inf")).triu(1)
        x = x + torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(t, -1) @ w("attention.wo")
        y = self.norm(x, name + "ffn_norm")
        gate = y @ w("feed_forward.w1")
        return x + (gate * gate.sigmoid() * (y @ w("feed_forward.w3"))) @ w("feed_forward.w2")

    def turn(self, x: Tensor) -> Tensor:
        t, heads, size = x.shape
        speed = float(str(self.params.get("rope_theta", 10000.0))) ** (-torch.arange(0, size, 2) / size)
        angle = torch.outer(torch.arange(t).float(), speed.float())
        pairs = torch.view_as_complex(x.reshape(t, heads, size // 2, 2))
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)[:, None]).flatten(2)


def random_meta(
    n: int = 4, layers: int = 3, vocab: int = 320, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Meta:
    """Random weights, large enough that choices differ from place to place. `layers` are those under `layers`."""
    torch.manual_seed(seed)
    shapes = {"tok_embeddings": (vocab, DIM), "output": (vocab, DIM)}
    for name in [*(f"layers.{i}." for i in range(layers)), *(f"extra_heads.{j}." for j in range(n - 1))]:
        kv = DIM // HEADS * KV_HEADS
        shapes |= {f"{name}attention.w{p}": (DIM if p in "qo" else kv, DIM) for p in "qkvo"}
        shapes |= {f"{name}feed_forward.w{i}": (DIM, FFN) if i == 2 else (FFN, DIM) for i in (1, 2, 3)}
    state = {f"{name}.weight": 1.5 * torch.randn(shape) / shape[1] ** 0.5 for name, shape in shapes.items()}
    norms = {name.rsplit(".", 3)[0] for name in state if ".attention." in name}
    state |= {
        f"{name}.{part}.weight": 1 + 0.1 * torch.randn(DIM) for name in norms for part in ("attention_norm", "ffn_norm")
    }
    state["norm.weight"] = 1 + 0.1 * torch.randn(DIM)
    params = {
        "dim": DIM,
        "n_layers": layers + n - 1,
        "n_heads": HEADS,
        "n_kv_heads": KV_HEADS,
        "vocab_size": vocab,
        "multiple_of": 32,
        "norm_eps": 1e-5,
        "n_future_tokens": n,
    }
    return Meta({name: tensor.to(dtype) for name, tensor in state.items()}, params)


def sentence_piece(folder: Path, vocab: int) -> None:
    """Train tokenizer.model with the settings of Llama's: BPE, byte fallback, digits apart."""
    import sentencepiece

    text = folder / "text"
    text.write_text(TEXT * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=vocab,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    text.unlink()
    (folder / "tokenizer.vocab").unlink()


def right_meta(n: int = 4, layers: int = 3, vocab: int = 320) -> Meta:
    """A checkpoint that counts, and whose heads are always right: after token v come v + 1, v + 2, ..

    Tokens are points on circles beside a constant that holds every gate open. The trunk's layers leave them alone;
    the last layer turns by one step, extra head j by j + 1 steps more than that.
    """
    meta = random_meta(n, layers, vocab)
    steps = torch.arange(vocab)[:, None] * torch.arange(1, DIM // 2) * 2 * torch.pi / vocab  # (vocab, circles)
    points = torch.stack([steps.cos(), steps.sin()], -1).flatten(1)  # (vocab, 2 * circles)
    points = torch.cat([torch.full((vocab, 1), 4.0), torch.zeros(vocab, 1), points], dim=1)  # (vocab, DIM)
    scale = float(torch.rsqrt(points[0].pow(2).mean() + 1e-5))  # the norm: all points are as long
    for name, tensor in meta.state.items():
        if name.endswith("norm.weight"):
            tensor.fill_(1.0)
        elif ".wo." in name or ".w2." in name:
            tensor.zero_()
    meta.state["tok_embeddings.weight"], meta.state["output.weight"] = points, points.clone()
    for ahead, name in enumerate([f"layers.{layers - 1}", *(f"extra_heads.{j}" for j in range(n - 1))], 1):
        weights = [torch.zeros(FFN, DIM), torch.zeros(DIM, FFN), torch.zeros(FFN, DIM)]
        weights[0][:DIM, 0] = 1.0
        weights[2][:DIM] = torch.eye(DIM)
        gate = torch.tensor(4.0 * scale)
        weights[1][:, :DIM] = (turned(ahead, vocab) - torch.eye(DIM)) / (gate * gate.sigmoid() * scale)
        meta.state |= {f"{name}.feed_forward.w{i}.weight": weight for i, weight in enumerate(weights, 1)}
    return meta


def turned(ahead: int, vocab: int) -> Tensor:
    """(DIM, DIM): every circle turned by `ahead` tokens."""
    out = torch.eye(DIM)
    for circle in range(1, DIM // 2):
        angle = torch.tensor(2 * torch.pi * ahead * circle / vocab)
        rows = slice(2 * circle, 2 * circle + 2)
        out[rows, rows] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    return out
