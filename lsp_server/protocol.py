"""JSON-RPC manners that the library leaves open: every request is answered, and in the right state.

Malformed messages, requests before `initialize` or after `shutdown` get the error the LSP specification names
(section "Base protocol"); document text is kept by our own store, not by the library's.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

from quatrain.lsp_server.door import initialize_result

log = logging.getLogger("quatrain")

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, NOT_INITIALIZED = -32700, -32600, -32602, -32002


class QuatrainProtocol(LanguageServerProtocol):
    """The library's protocol with strict states and without its copy of the documents."""

    initialized = False
    answered: Any = None
    """Id of a request that the door has answered already."""

    @property
    def clean_exit(self) -> bool:
        """Whether the client asked for a shutdown first."""
        return self._shutdown

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Answer a request whose parameters do not fit instead of leaving it open. Our own take none at all too."""
        if str(data.get("method", "")).startswith("quatrain/"):
            data.setdefault("params", {})
        try:
            return super().structure_message(data)
        except JsonRpcException:
            self.refuse(data.get("id"), INVALID_PARAMS, f"invalid parameters for {data.get('method')!r}")
            raise

    def handle_message(self, message: Any) -> None:
        """Refuse what comes at the wrong time."""
        method = getattr(message, "method", None)
        if not hasattr(message, "jsonrpc"):
            self.refuse(None, INVALID_REQUEST, "not a JSON-RPC 2.0 message")
        elif method is None or method == types.EXIT:
            super().handle_message(message)
        elif self._shutdown:
            self.refuse(getattr(message, "id", None), INVALID_REQUEST, "the server is shutting down", quiet=True)
        elif not self.initialized and method != types.INITIALIZE:
            self.refuse(getattr(message, "id", None), NOT_INITIALIZED, f"{method} before initialize", quiet=True)
        elif self.initialized and method == types.INITIALIZE:
            self.refuse(getattr(message, "id", None), INVALID_REQUEST, "initialize was sent twice")
        else:
            self.initialized = True
            super().handle_message(message)

    def refuse(self, msg_id: Any, code: int, text: str, quiet: bool = False) -> None:
        """Send an error. Notifications have no id: they are dropped, with a line in the log."""
        log.log(logging.DEBUG if quiet else logging.WARNING, "refused: %s", text)
        if msg_id is not None or (code in (PARSE_ERROR, INVALID_REQUEST) and not quiet):
            # written out because the library drops an id of null, which JSON-RPC asks for here
            self._send_data({"jsonrpc": "2.0", "id": msg_id, "error": {"code": code, "message": text}})

    def _send_response(self, msg_id: Any, result: Any = None, error: types.ResponseError | None = None) -> None:
        if msg_id is None or msg_id != self.answered:
            super()._send_response(msg_id, result, error)  # pyright: ignore[reportArgumentType] - an id may be null
        self.answered = None if msg_id == self.answered else self.answered

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, Any]:
        """Capabilities come from the door, whether it has answered or not."""
        yield from super().lsp_initialize(params)
        return initialize_result(self._converter.unstructure(params.capabilities))

    def user_handler(self, method: str, params: Any) -> Generator[Any, Any, None]:
        handler = self.fm.features.get(method)
        if handler is not None:
            yield handler, (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Generator[Any, Any, None]:
        yield from self.user_handler(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Generator[Any, Any, None]:
        yield from self.user_handler(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Generator[Any, Any, None]:
        yield from self.user_handler(types.TEXT_DOCUMENT_DID_CLOSE, params)
