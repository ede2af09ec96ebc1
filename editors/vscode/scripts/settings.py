"""Writes the server's settings into the extension: the schema in package.json, the names in TypeScript.

    python editors/vscode/scripts/settings.py           write
    python editors/vscode/scripts/settings.py --check   status 1 if something is stale

Reads `lsp_server/settings.py` through the installed package; knows nothing of how the extension uses them.
"""

from __future__ import annotations

import json
import sys
import typing
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal

from quatrain.lsp_server.settings import Settings, camel

HERE = Path(__file__).resolve().parent.parent
MANIFEST = HERE / "package.json"
NAMES = HERE / "src" / "generated" / "server-settings.ts"

SCOPES = {"enabled": "language-overridable", "disabled_languages": "resource"}
FROM_THE_USER_ONLY = ("model", "arithmetic", "head", "adapter")
"""A workspace that is not trusted cannot set these: they name files and code paths."""

OWN: dict[str, dict[str, Any]] = {
    "quatrain.server.path": {
        "type": "string",
        "default": "",
        "scope": "machine-overridable",
        "markdownDescription": "The `quatrain` program, as an absolute path. Empty: the first one on `PATH`, then the "
        "extension's own environment.",
    },
    "quatrain.server.package": {
        "type": "string",
        "default": "quatrain",
        "scope": "machine",
        "markdownDescription": "What *Install or Update the Server* gives to `pip install`: a package name, with a "
        "version if wanted, or the path of a wheel or a checkout.",
    },
    "quatrain.trace.server": {
        "type": "string",
        "enum": ["off", "messages", "verbose"],
        "default": "off",
        "scope": "window",
        "markdownDescription": "Write the messages between editor and server to the log.",
    },
}


def schema(field: Field[Any], hint: Any) -> dict[str, Any]:
    """The JSON schema of one setting, as VS Code contributes it."""
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    kind: dict[str, Any]
    if typing.get_origin(hint) is Literal:
        kind = {"type": "string", "enum": list(typing.get_args(hint))}
    elif typing.get_origin(hint) is tuple:
        kind = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    else:
        kind = {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint]}
    limits = {"least": "minimum", "most": "maximum"}
    kind |= {limits[name]: value for name, value in field.metadata.items() if name in limits}
    scope = "machine-overridable" if field.name in FROM_THE_USER_ONLY else SCOPES.get(field.name, "window")
    return kind | {"default": default, "scope": scope, "markdownDescription": field.metadata["doc"]}


def generated() -> dict[Path, str]:
    """The files and what should be in them."""
    hints = typing.get_type_hints(Settings)
    ours = {f"quatrain.{camel(field.name)}": schema(field, hints[field.name]) for field in fields(Settings)}
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    properties = ours | OWN
    for order, name in enumerate(properties):
        properties[name] = properties[name] | {"order": order}
    manifest["contributes"]["configuration"]["properties"] = properties
    restricted = ["quatrain.server.path", *(f"quatrain.{camel(name)}" for name in FROM_THE_USER_ONLY)]
    manifest["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] = restricted
    names = "".join(f'  "{camel(field.name)}",\n' for field in fields(Settings))
    head = "// Made by scripts/settings.py from the server's settings. Do not edit.\n\n"
    module = f"{head}export const SERVER_SETTINGS = [\n{names}];\n"
    return {MANIFEST: json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", NAMES: module}


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are stale."""
    wanted = generated()
    stale = [path for path in wanted if not path.exists() or path.read_text(encoding="utf-8") != wanted[path]]
    for path in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{path} is stale; run {Path(__file__).name}\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
