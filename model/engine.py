"""The engine the server talks to: one trunk, one tokenizer, one cache, one set of draft sources.

Owned by one thread. Knows prompts and tokens, neither documents nor syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from quatrain.model import decode, fim
from quatrain.model.api import Prompt, Round, Stop
from quatrain.model.cache import KVCache
from quatrain.model.choose import Sampling
from quatrain.model.draft import DraftSource, FirstOf, GivenDraft, LookupDraft, NoDraft
from quatrain.model.draft_length import DraftLengths
from quatrain.model.step_costs import DEFAULT, StepCosts
from quatrain.model.tokenizer import Vocabulary

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk

CAPACITY = 4096
"""Positions in the cache: prompt and completion together."""
HEAL_BYTES = 48
"""Longest typed piece that is forced; a longer one is left as it was tokenized."""


class LocalEngine:
    """An `Engine` over a trunk on this machine."""

    def __init__(
        self,
        trunk: Trunk,
        vocabulary: Vocabulary,
        name: str = "",
        capacity: int = CAPACITY,
        speculate: bool = True,
        heal: bool = True,
        max_draft: int = 8,
        costs: StepCosts = DEFAULT,
        head: Callable[[Any], DraftSource] | None = None,
    ) -> None:
        """`head` makes a draft source over the cache's storage; the trunk must tap what it reads. Greedy, until
        `sampling` is set."""
        self.trunk = trunk
        self.vocabulary = vocabulary
        self.name = name
        self.layout = fim.layout_for(vocabulary)
        capacity = min(capacity, trunk.config.max_positions)
        self.cache = KVCache(trunk.allocate(capacity), capacity)
        self.sampling: Sampling | None = None
        self.speculate = speculate
        self.heal = heal
        self.max_draft = max_draft
        self.lookup = LookupDraft()
        self.head = head(self.cache.storage) if head else None
        self.lengths = DraftLengths(costs)
        self.count = lru_cache(maxsize=64)(self._count)

    def encode(self, prefix: str, suffix: str, outline: str = "") -> Prompt:
        """See `Engine.encode`. The last word of the prefix is taken back and forced (token healing)."""
        ids, forced = self.encode_prefix(clean(prefix))
        parts = {
            "outline": self.vocabulary.encode(clean(outline)),
            "suffix": self.vocabulary.encode(clean(suffix)),
            "prefix": ids,
        }
        tokens = fim.lay_out(self.layout, self.vocabulary, parts)
        if not tokens:  # nothing before the cursor and no markers: a model must be asked something
            tokens = self.vocabulary.encode("\n")
        return Prompt(tuple(tokens), forced)

    def encode_prefix(self, prefix: str) -> tuple[list[int], bytes]:
        """Ids of the prefix up to its last word, and the bytes of that word.

        The model never saw text that ends inside a token it knows (`self.` + `ca`), so the word is given back
        to it to say again, constrained to these bytes. After a line break there is nothing to heal.
        """
        if not self.heal or not prefix or prefix[-1] == "\n":
            return self.vocabulary.encode(prefix), b""
        ids, before = self.vocabulary.encode_words(prefix)
        if sum(len(self.vocabulary.bytes_of(token)) for token in ids[before:]) > HEAL_BYTES:
            before = len(ids) - 1
        forced = b"".join(map(self.vocabulary.bytes_of, ids[before:]))
        return ids[:before], forced

    def generate(self, prompt: Prompt, stop: Stop, max_tokens: int, draft: str = "") -> Generator[Round, None, None]:
        """See `Engine.generate`."""
        return decode.rounds(
            self.trunk,
            self.cache,
            self.vocabulary,
            prompt,
            stop,
            max_tokens,
            self.source(prompt, draft),
            self.max_draft,
            self.lengths,
            self.sampling,
        )

    def source(self, prompt: Prompt, draft: str) -> DraftSource:
        """What was expected comes first, then what stands in the text already."""
        if not self.speculate:
            return NoDraft()
        expected = prompt.forced.decode("utf-8", errors="replace") + clean(draft)
        given = [GivenDraft(self.vocabulary.encode(expected))] if expected else []
        return FirstOf(*given, self.sources(self.lookup))

    def sources(self, lookup: LookupDraft) -> DraftSource:
        """A repetition first, if it is long enough to be believed; else the head; else nothing."""
        return FirstOf(lookup, self.head) if self.head else lookup

    def _count(self, text: str) -> int:
        """Number of tokens of `text`. Asked again and again for what stands around the cursor."""
        return len(self.vocabulary.encode(clean(text)))

    def describe(self) -> dict[str, str | int | float]:
        """Name, arithmetic, layout and sizes."""
        return {
            "model": self.name,
            "arithmetic": self.trunk.arithmetic,
            "layout": self.layout.name,
            "layers": self.trunk.config.layers,
            "width": self.trunk.config.width,
            "vocabulary": self.vocabulary.size,
            "capacity": self.cache.capacity,
            "prompt_tokens_per_s": round(self.lengths.costs.prompt_tokens_per_s),
            "head": "none" if self.head is None else type(self.head).__name__,
        }


def clean(text: str) -> str:
    """`text` with lone surrogates (an editor may send half an emoji) replaced: the tokenizer needs real text."""
    return text.encode("utf-8", errors="replace").decode("utf-8") if not text.isascii() else text
