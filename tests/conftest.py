"""Fixtures, the report header, and the order: end-to-end tests run last."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest


def pytest_report_header() -> str:
    names = ("torch", "tokenizers", "pygls", "tree-sitter", "numpy")
    return f"{platform.machine()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "e2e" in item.path.parts or "editor" in item.path.parts)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Quatrain home."""
    folder = tmp_path / "home"
    monkeypatch.setenv("QUATRAIN_HOME", str(folder))
    return folder
