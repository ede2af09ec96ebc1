"""The house rules that a machine can check: who imports whom, how long things are, who may print."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.lsp_server.settings import table

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for folder in ("model", "lsp_server") for p in (ROOT / folder).rglob("*.py"))
PROTOCOL_MODULES = {"server", "protocol", "handlers", "serving", "door"}
NO_TORCH = {"api", "config", "fim", "tokenizer", "cache", "draft", "trunk", "fetch", "gguf_file", "decode", "engine"}
NO_TORCH |= {"machine", "measure", "step_costs", "draft_length", "bench", "bench_table", "peer", "loss", "first_token"}
NO_TORCH |= {"checkpoint", "fallback", "gpu", "setting_up", "converting", "source", "folder_model", "hf_folder"}
NO_TORCH |= {"meta_folder", "sentence_piece", "tokenizer_json"}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc", "core"}


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Modules that a file imports; those under `if TYPE_CHECKING` are not imported when it runs."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def starts(names: Iterator[str], *packages: str) -> list[str]:
    return [name for name in names if any(name == p or name.startswith(p + ".") for p in packages)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_directions(path: Path) -> None:
    if path.is_relative_to(ROOT / "model"):
        assert not starts(imports(path), "quatrain.lsp_server", "pygls", "lsprotocol", "tree_sitter")
        if path.stem in NO_TORCH and path.parent == ROOT / "model":
            assert not starts(imports(path, top_level_only=True), "torch")
    else:
        assert not starts(imports(path), "torch")
        if path.stem not in PROTOCOL_MODULES:
            assert not starts(imports(path), "pygls", "lsprotocol")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes_and_names(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 350, "modules stay under 300 lines, 350 at the most"
    assert path.stem not in FORBIDDEN_NAMES
    if text.strip():
        assert ast.get_docstring(tree), "every module says what it does"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def test_serving_imports_no_torch() -> None:
    code = "import sys, quatrain.lsp_server.handlers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_serving_imports_no_training() -> None:
    code = "import sys, quatrain.lsp_server.cli as cli, quatrain.lsp_server.handlers, quatrain.model.checkpoint;"
    code += "cli.parser(); assert not [m for m in sys.modules if m.startswith(('quatrain.model.train', 'matplotlib'))]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_door_imports_no_protocol_library() -> None:
    code = "import sys, quatrain.lsp_server.serving; assert not {'pygls', 'lsprotocol', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_settings_table_of_the_readme_is_fresh() -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- settings:begin", 1)[1].split("-->\n", 1)[1].split("\n<!-- settings:end", 1)[0]
    assert shown == table(), "run `python -m quatrain.lsp_server.settings` and paste its output"
