"""One dial for the size of a model trained from scratch, and how its layers are shared out to trunk and heads.

A size has so many layers whatever the number of heads: every head beyond the first takes one from the trunk, so that
models of one size have equal parameters (Gloeckle et al. 2024). Knows numbers, no tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Size:
    """`layers` are those of trunk and heads together. `batch` sequences of `context` tokens make a step; `rate` is
    the learning rate at its height. Shapes are those our kernels can run (head dimension 32 to 128)."""

    layers: int
    width: int
    heads: int
    ffn: int
    context: int
    batch: int
    rate: float


SIZES = {
    "pico": Size(12, 128, 4, 352, 256, 16, 3e-3),
    "nano": Size(12, 256, 4, 704, 512, 32, 2e-3),
    "tiny": Size(12, 384, 6, 1024, 1024, 64, 1e-3),
    "small": Size(16, 640, 10, 1728, 1024, 128, 8e-4),
    "medium": Size(24, 1024, 16, 2816, 2048, 128, 5e-4),
    "large": Size(24, 2048, 32, 5632, 2048, 256, 3e-4),
}
LOOKAHEAD = 8
"""Most heads. Every window of training text is followed by so many more tokens, whatever the number of heads, so
that models with more heads see no other text."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A network: `trunk` layers, then `heads` heads of one layer each, the first of which says the next token.

    `design`: in the parallel one all heads read the trunk's state, in the causal one each reads what the head before
    it made (Gloeckle et al. 2024, appendix on alternative architectures).
    """

    size: Size
    vocab: int
    heads: int
    positions: int
    design: str = "parallel"

    @property
    def trunk(self) -> int:
        return self.size.layers - self.heads

    @property
    def parameters(self) -> int:
        """Of all weights; the same for any number of heads."""
        s = self.size
        layer = 4 * s.width * s.width + 3 * s.width * s.ffn + 2 * s.width
        return s.layers * layer + 2 * self.vocab * s.width + s.width

    @property
    def chained(self) -> bool:
        return self.design == CAUSAL

    @property
    def config(self) -> ModelConfig:
        """The trunk with its next-token head as it is served."""
        s = self.size
        return ModelConfig(
            layers=self.trunk + 1,
            width=s.width,
            heads=s.heads,
            kv_heads=s.heads,
            head_dim=s.width // s.heads,
            ffn=s.ffn,
            vocab=self.vocab,
            rms_eps=EPSILON,
            max_positions=self.positions,
            rope_interleaved=True,
        )


EPSILON = 1e-5
CAUSAL = "causal"
DESIGNS = ("parallel", CAUSAL)


def plan(size: str, vocab: int, heads: int, design: str = "parallel") -> Plan:
    """The network of a named size. QuatrainError for an unknown size or design, or a number of heads it has no
    layers for."""
    if design not in DESIGNS:
        raise QuatrainError(f"no design {design!r}; known are {', '.join(DESIGNS)}")
    if size not in SIZES:
        raise QuatrainError(f"no size {size!r}; known are {', '.join(SIZES)}")
    if not 1 <= heads <= min(LOOKAHEAD, SIZES[size].layers - 1):
        most = min(LOOKAHEAD, SIZES[size].layers - 1)
        raise QuatrainError(f"{heads} heads do not fit the size {size}: it takes 1 to {most}")
    return Plan(SIZES[size], vocab, heads, SIZES[size].context, design)
