"""The key/value cache of one stream of tokens: what it holds, how much of a new prompt it already has.

The length and the tokens live on the host; the storage belongs to the trunk and is written by position, so
dropping the tail of the cache is forgetting a number. Knows no arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class KVCache:
    """Tokens whose keys and values are in `storage[0 : len(tokens)]`."""

    def __init__(self, storage: Any, capacity: int) -> None:
        self.storage = storage
        self.capacity = capacity
        self.tokens: list[int] = []

    def __len__(self) -> int:
        return len(self.tokens)

    def extend(self, ids: Sequence[int]) -> None:
        """Record that `ids` were computed at the end."""
        if len(self.tokens) + len(ids) > self.capacity:
            raise ValueError(f"{len(self.tokens)} + {len(ids)} tokens exceed the cache's {self.capacity}")
        self.tokens.extend(ids)

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        del self.tokens[length:]

    def reuse(self, prompt: Sequence[int]) -> int:
        """Keep the longest common prefix with `prompt` and return its length."""
        length = common_prefix(self.tokens, prompt)
        self.truncate(length)
        return length


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of equal leading items."""
    limit = min(len(a), len(b))
    return next((i for i in range(limit) if a[i] != b[i]), limit)
