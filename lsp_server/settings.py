"""All settings, with their defaults, in one frozen value. Knows nothing of the protocol and of what reads it.

Clients send a flat or dotted JSON object; what is wrong in it is reported and its default used.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


def setting(default: Any, doc: str, **limits: int | float) -> Any:
    """A field with its documentation and limits (`least`, `most`), from which the editors' schemas are made."""
    return field(default=default, metadata={"doc": doc} | limits)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose."""

    enabled: bool = setting(True, "Offer completions at all.")
    trigger: Literal["automatic", "manual"] = setting(
        "automatic", "`manual`: only answer when the user asks, never while typing."
    )
    disabled_languages: tuple[str, ...] = setting((), "Language ids without completions, for example `markdown`.")
    exclude: tuple[str, ...] = setting(
        ("**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/id_rsa*", "**/id_ed25519*", "**/.ssh/*"),
        "Files never read for completion (glob patterns).",
    )
    lines: Literal["auto", "single"] = setting("auto", "`single`: never offer more than the rest of the line.")
    max_tokens: int = setting(96, "Longest completion, in tokens.", least=1, most=512)
    time_limit_ms: int = setting(
        4000, "Stop generating after this time and offer what is complete by then.", least=50, most=60_000
    )
    confidence: float = setting(
        0.6, "How sure the model must be to offer something unasked; 0 shows everything.", least=0, most=1
    )
    context_tokens: int = setting(
        0, "Prompt size in tokens; 0 takes what this machine reads in about half a second.", least=0, most=3072
    )
    suggest_in_menu: bool = setting(
        True, "Offer an item in the completion menu of editors that have no inline completion."
    )
    model: str = setting("", "A known model's name or the path of a GGUF file; empty for the default model.")
    arithmetic: str = setting("auto", "How to compute: `auto`, or a path named by `quatrain bench`.")
    speculate: bool = setting(True, "Verify several drafted tokens per step. Never changes the text.")
    head: str = setting("auto", "Draft head: `auto` is the one that comes with Quatrain, `none`, or a file.")
    adapter: str = setting(
        "auto", "Adapter in the model's weights: `auto` is the one that comes with Quatrain, `none`, or a file."
    )
    log_level: Literal["error", "warning", "info", "debug"] = setting("info", "How much goes to the log.")


def from_client(given: Any, base: Settings | None = None) -> tuple[Settings, list[str]]:
    """Settings from what a client sent, on top of `base`; and a sentence for each thing that is wrong in it.

    Accepts `{"quatrain": {...}}` or the inner object, snake_case or camelCase names.
    """
    base = base or Settings()
    if given is None:
        return base, []
    if isinstance(given, Mapping) and isinstance(given.get("quatrain"), Mapping):
        given = given["quatrain"]
    if not isinstance(given, Mapping):
        return base, [f"settings must be an object, not {type(given).__name__}; defaults are used"]
    known = {f.name: f for f in fields(Settings)}
    hints = typing.get_type_hints(Settings)
    values: dict[str, Any] = {name: getattr(base, name) for name in known}
    problems = []
    for key, value in given.items():
        name = snake(str(key))
        if name not in known:
            if name not in CLIENT_ONLY:
                problems.append(f"unknown setting {key!r} is ignored")
            continue
        if value is None:
            values[name] = known[name].default
            continue
        try:
            values[name] = checked(value, hints[name], known[name].metadata)
        except ValueError as error:
            values[name] = known[name].default
            problems.append(f"setting {key!r}: {error}; using {known[name].default!r}")
    return Settings(**values), problems


CLIENT_ONLY = frozenset({"server_path", "path", "trace", "trace_server", "status_bar", "command", "filetypes"})
"""Settings the editors keep for themselves and may send along."""


def checked(value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """`value` as the field's type and within its limits. Raises ValueError with a sentence."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{value!r} is not one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ValueError("expected a list of strings")
        return tuple(value)
    whole = hint is int and isinstance(value, float) and value.is_integer()
    if type(value) is not hint and not whole and not (hint is float and type(value) is int):
        raise ValueError(f"expected {hint.__name__}, got {value!r}")
    value = hint(value)
    least, most = metadata.get("least", value), metadata.get("most", value)
    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")
    return value


def snake(name: str) -> str:
    """`maxTokens` and `quatrain.maxTokens` to `max_tokens`."""
    name = name.removeprefix("quatrain.").replace(".", "_")
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


def camel(name: str) -> str:
    """`max_tokens` to `maxTokens`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def table() -> str:
    """The settings as a Markdown table, for the README."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for f in fields(Settings):
        default = "empty" if f.default == "" else f"`{json.dumps(f.default)}`"
        limits = [str(f.metadata[key]) for key in ("least", "most") if key in f.metadata]
        meaning = f.metadata["doc"] + (f" From {limits[0]} to {limits[1]}." if limits else "")
        rows.append(f"| `{camel(f.name)}` | {default} | {meaning} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
