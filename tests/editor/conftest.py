"""What the editor tests share: real editors, made once, or a reason why not."""

from __future__ import annotations

import pytest
from editor.code_server import NotPreparedError, Tools, prepare


@pytest.fixture(scope="session")
def tools() -> Tools:
    """code-server, Chromium and the packaged extension. Without them the tests are skipped, and say so."""
    try:
        return prepare()
    except NotPreparedError as problem:
        pytest.skip(str(problem))
