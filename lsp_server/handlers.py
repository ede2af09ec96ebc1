"""The messages a client sends, one thin function each: snapshot, await, convert.

Requests are `async` and take their snapshot, and the lines that their answer's places are read off, before the
first await, so that a later edit cannot reach them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psutil
from lsprotocol import types
from pygls.uris import to_fs_path

from quatrain.lsp_server import languages
from quatrain.lsp_server.complete import Completion
from quatrain.lsp_server.documents import Change, Document, Encoding, Lines, Snapshot, units
from quatrain.lsp_server.door import ACCEPTED, encoding_for
from quatrain.lsp_server.server import OpenEngine, Server
from quatrain.lsp_server.settings import Settings

log = logging.getLogger("quatrain")

PARENT_SECONDS = 1.0


def make(open_engine: OpenEngine, settings: Settings) -> Server:
    """A server with all its handlers."""
    server = Server(open_engine, settings)
    for method, handler in HANDLERS:
        register(server, method, handler)

    @server.command(ACCEPTED)
    def accepted(*_: Any) -> None:
        server.status.accepted += 1

    return server


def register(server: Server, method: str, handler: Callable[..., Any]) -> None:
    """Attach a handler; it gets the server as its first argument."""
    if asyncio.iscoroutinefunction(handler):

        async def bound(params: Any = None) -> Any:
            return await handler(server, params)

    else:
        bound = partial(handler, server)
    server.feature(method)(bound)


def initialize(server: Server, params: types.InitializeParams) -> None:
    """Take the settings and the encoding; watch the parent."""
    server.take_settings(params.initialization_options)
    general = params.capabilities.general
    server.encoding = encoding_for({"general": {"positionEncodings": general and general.position_encodings}})
    if params.process_id:
        threading.Thread(target=watch, args=(params.process_id,), daemon=True, name="parent").start()


def watch(parent: int) -> None:
    """End this process when the editor is gone, even if it left the pipe open."""
    while psutil.pid_exists(parent):
        time.sleep(PARENT_SECONDS)
    log.warning("the editor (process %d) is gone; exiting", parent)
    os._exit(1)


def initialized(server: Server, _: types.InitializedParams) -> None:
    """Start loading the model, now that the client has its answer."""
    server.loading = asyncio.get_running_loop().create_task(server.load())


def did_change_configuration(server: Server, params: types.DidChangeConfigurationParams) -> None:
    """New settings; another model or arithmetic is loaded afresh."""
    before = server.settings
    server.take_settings(params.settings)
    server.reload_if_needed(before)


def did_open(server: Server, params: types.DidOpenTextDocumentParams) -> None:
    item = params.text_document
    path = path_of(item.uri)
    language = languages.language_for(item.language_id, path)
    server.documents[item.uri] = Document(path, language, item.text, item.version, item.language_id)


def did_change(server: Server, params: types.DidChangeTextDocumentParams) -> None:
    document = server.documents.get(params.text_document.uri)
    if document is None:
        log.warning("change of a document that is not open: %s", params.text_document.uri)
        return
    document.apply([change_of(c) for c in params.content_changes], params.text_document.version, server.encoding)


def did_close(server: Server, params: types.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    server.documents.pop(uri, None)
    if running := server.running.get(uri):
        running.superseded = True
        running.stop.set()


def change_of(change: types.TextDocumentContentChangeEvent) -> Change:
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return Change(change.text)
    start, end = change.range.start, change.range.end
    return Change(change.text, (start.line, start.character), (end.line, end.character))


async def inline_completion(server: Server, params: types.InlineCompletionParams) -> list[dict[str, Any]] | None:
    """Ghost text. `null` for a superseded request (a client keeps what it shows), `[]` for nothing to offer."""
    uri, context = params.text_document.uri, params.context
    document = server.documents.get(uri)
    automatic = context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
    selected = context.selected_completion_info
    began = time.perf_counter()
    if document is None:
        server.status.note("unknown_document", uri)
        return []
    snapshot, start, end, already = snapshot_for(server, document, params.position, selected)
    lines = document.lines()
    answer = await answer_to(server, uri, document, snapshot, automatic)
    if answer is None or not answer.text:
        return None if answer is None else []
    server.status.offer((time.perf_counter() - began) * 1000)
    text = already + answer.text
    end += answer.end - answer.start
    shift = units(already, server.encoding)
    safe = [[shift + units(answer.text[:at], server.encoding), kind] for at, kind in answer.safe]
    return [
        {
            "insertText": text,
            "range": range_of(lines, start, end, server.encoding),
            "command": {"title": "accepted", "command": ACCEPTED, "arguments": []},
            "data": {"safe": safe, "reason": answer.reason, "source": answer.source},
        }
    ]


def snapshot_for(
    server: Server,
    document: Document,
    position: types.Position,
    selected: types.SelectedCompletionInfo | None,
) -> tuple[Snapshot, int, int, str]:
    """The snapshot to complete, the range the answer replaces at least, and the text it must begin with.

    With an item selected in the suggest popup, the answer must extend that item (VS Code shows nothing else).
    """
    if selected is None:
        at = document.offset((position.line, position.character), server.encoding)
        return document.snapshot(at), at, at, ""
    start, end = (
        document.offset((p.line, p.character), server.encoding) for p in (selected.range.start, selected.range.end)
    )
    return document.snapshot_with(start, end, selected.text), start, end, selected.text


async def completion(server: Server, params: types.CompletionParams) -> dict[str, Any]:
    """One item in the completion menu, for clients without inline completion."""
    uri = params.text_document.uri
    document = server.documents.get(uri)
    nothing: dict[str, Any] = {"isIncomplete": True, "items": []}
    if not server.settings.suggest_in_menu:
        return nothing
    if document is None:
        server.status.note("unknown_document", uri)
        return nothing
    at = document.offset((params.position.line, params.position.character), server.encoding)
    word, lines = typed_word(document.text, at), document.lines()
    began = time.perf_counter()
    answer = await answer_to(server, uri, document, document.snapshot(at), automatic=True)
    if answer is None or not answer.text:
        return nothing
    server.status.offer((time.perf_counter() - began) * 1000)
    text = word + answer.text
    label = text.strip().splitlines()[0] if text.strip() else text
    item = {
        "label": label[:80],
        "kind": types.CompletionItemKind.Snippet.value,
        "detail": "Quatrain",
        "documentation": {"kind": "plaintext", "value": text},
        "sortText": "\x00",
        "filterText": text.partition("\n")[0],
        "insertTextFormat": types.InsertTextFormat.PlainText.value,
        "textEdit": {"newText": text, "range": range_of(lines, at - len(word), answer.end, server.encoding)},
        "command": {"title": "accepted", "command": ACCEPTED, "arguments": []},
    }
    return {"isIncomplete": True, "items": [item]}


async def answer_to(
    server: Server, uri: str, document: Document, snapshot: Snapshot, automatic: bool
) -> Completion | None:
    """The completion of a snapshot; an empty one has its reason noted, None means superseded."""
    reason = server.refusal(document, automatic)
    if reason == "model_loading" and not automatic and server.loading is not None:
        await asyncio.wait([server.loading])
        reason = server.refusal(document, automatic)
    if reason is not None:
        answer = Completion("", snapshot.cursor, snapshot.cursor, reason)
    else:
        # who asks for a completion sees it, however sure the model is
        settings = server.settings if automatic else replace(server.settings, confidence=0.0)
        answer = await server.complete(uri, snapshot, settings)
    if answer is None:
        server.status.note("superseded", document.path)
    elif not answer.text:
        server.status.note(answer.reason, document.path)
        log.info("nothing offered in %s: %s", document.path, answer.reason)
    else:
        log.info("%s: %r (%s, %s) %s", document.path, answer.text, answer.reason, answer.source, brief(answer))
    return answer


def brief(answer: Completion) -> str:
    """One line of the trace."""
    summary = answer.trace.summary()
    stages = " ".join(f"{name} {ms:.0f}" for name, ms in summary["stages_ms"].items())
    return f"{stages} ms, {summary['tokens']} tokens in {summary['forwards']} steps, {summary['reused_tokens']} reused"


def typed_word(text: str, at: int) -> str:
    """The identifier that ends at the cursor."""
    start = at
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return text[start:at]


def range_of(lines: Lines, start: int, end: int, encoding: Encoding) -> dict[str, Any]:
    """An LSP range from offsets into the text that the answer was made for."""
    (l0, c0), (l1, c1) = lines.place(start, encoding), lines.place(end, encoding)
    return {"start": {"line": l0, "character": c0}, "end": {"line": l1, "character": c1}}


def path_of(uri: str) -> str:
    """The file's path, or the URI's own for schemes such as `untitled:`."""
    return (to_fs_path(uri) or uri) if urlsplit(uri).scheme == "file" else uri


def status(server: Server, _: Any = None) -> dict[str, Any]:
    """Everything about the session: state, counts, reasons of empty answers."""
    return server.status.report()


def did_show(server: Server, _: Any = None) -> None:
    """The client shows the item; nothing to do, it was counted when offered."""


def did_partially_accept(server: Server, _: Any = None) -> None:
    server.status.partly_accepted += 1


def shutdown(server: Server, _: Any = None) -> None:
    for running in server.running.values():
        running.superseded = True
        running.stop.set()


HANDLERS: tuple[tuple[str, Callable[..., Any]], ...] = (
    (types.INITIALIZE, initialize),
    (types.INITIALIZED, initialized),
    (types.SHUTDOWN, shutdown),
    (types.WORKSPACE_DID_CHANGE_CONFIGURATION, did_change_configuration),
    (types.TEXT_DOCUMENT_DID_OPEN, did_open),
    (types.TEXT_DOCUMENT_DID_CHANGE, did_change),
    (types.TEXT_DOCUMENT_DID_CLOSE, did_close),
    (types.TEXT_DOCUMENT_INLINE_COMPLETION, inline_completion),
    (types.TEXT_DOCUMENT_COMPLETION, completion),
    ("quatrain/status", status),
    ("textDocument/didShowCompletion", did_show),
    ("textDocument/didPartiallyAcceptCompletion", did_partially_accept),
)
