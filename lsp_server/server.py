"""One session of the language server: its documents, its settings, its model thread, its status.

The event loop owns documents and settings and only takes snapshots; one model thread completes. A new request
for a document stops the one before it. Messages are read and answered in `handlers`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from quatrain.lsp_server.complete import Completer, Completion
from quatrain.lsp_server.documents import Document, Encoding, Snapshot
from quatrain.lsp_server.protocol import PARSE_ERROR, QuatrainProtocol
from quatrain.lsp_server.settings import Settings, from_client
from quatrain.lsp_server.status import Status, excluded
from quatrain.model.api import Engine, QuatrainError, Stop

log = logging.getLogger("quatrain")

OpenEngine = Callable[[Settings, Callable[[str, int, int], None]], Engine]
"""Loads the engine; called on the model thread with a progress callback."""
ENGINE_SETTINGS = ("model", "arithmetic", "speculate", "head", "adapter")
BUSY_SECONDS = 0.15
"""Work is shown to clients from then on: what is typed through a suggestion is answered sooner and shows nothing."""
FILE_LIMIT = 8_000_000
"""Characters; larger documents get no completions."""


@dataclass(slots=True)
class Running:
    """The request of a document that is being worked on."""

    stop: Stop
    superseded: bool = False


class Server(LanguageServer):
    """State of one session. Handlers are below; they are thin."""

    protocol: QuatrainProtocol  # pyright: ignore[reportIncompatibleVariableOverride] - it makes the protocol itself

    def __init__(self, open_engine: OpenEngine, settings: Settings) -> None:
        super().__init__(
            "quatrain",
            "0.1.0",
            protocol_cls=QuatrainProtocol,
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
        )
        self.open_engine = open_engine
        self.settings = settings
        self.defaults = settings
        self.documents: dict[str, Document] = {}
        self.running: dict[str, Running] = {}
        self.completer: Completer | None = None
        self.loading: asyncio.Task[None] | None = None
        self.showing_busy: asyncio.TimerHandle | None = None
        self.told_busy = False
        self.status = Status()
        self.encoding: Encoding = "utf-16"
        self.model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log, never pop up: a keystroke must not raise a message."""
        log.error("%s: %s", getattr(source, "__name__", source), error)
        if isinstance(error, ValueError) and source.__name__ == "JsonRpcException":
            self.protocol.refuse(None, PARSE_ERROR, f"not JSON: {error}")

    def take_settings(self, given: Any) -> None:
        """Adopt what the client sent; say once what is wrong with it."""
        self.settings, problems = from_client(given, self.defaults)
        logging.getLogger("quatrain").setLevel(self.settings.log_level.upper())
        if problems:
            text = "Quatrain settings: " + "; ".join(problems)
            if text not in self.status.told:
                self.status.told.add(text)
                self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, text))

    def tell(self) -> None:
        """Send the status to clients that show one."""
        self.told_busy = self.status.busy
        self.protocol.notify("didChangeStatus", self.status.notification())

    def note_busy(self) -> None:
        """Requests began or ended. Clients hear of a stretch of work once it has lasted a moment, and of its end if
        they heard of it: two messages at most."""
        self.status.busy = bool(self.running)
        if self.status.busy:
            if self.showing_busy is None:
                self.showing_busy = asyncio.get_running_loop().call_later(BUSY_SECONDS, self.tell)
        elif self.showing_busy is not None:
            self.showing_busy.cancel()
            self.showing_busy = None
            if self.told_busy:
                self.tell()

    async def load(self) -> None:
        """Open the model on the model thread, with progress in the editor."""
        loop = asyncio.get_running_loop()
        token = "quatrain-load"
        shown = await self.begin_progress(token)

        def report(message: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(self.show_progress, token if shown else None, message, done, total)

        self.status.update("loading", "loading the model")
        try:
            engine = await loop.run_in_executor(self.model_thread, self.open_engine, self.settings, report)
            self.completer = Completer(engine)
            self.status.update("ready", f"{engine.describe().get('model', 'model')} ready")
            self.status.engine = engine.describe()
            log.info("engine: %s", self.status.engine)
        except QuatrainError as error:
            self.status.update("error", str(error))
            self.window_show_message(types.ShowMessageParams(types.MessageType.Error, f"Quatrain: {error}"))
        except Exception as error:
            log.exception("the model could not be loaded")
            self.status.update("error", f"{type(error).__name__}: {error}")
            text = f"Quatrain could not load the model ({error}). See the log."
            self.window_show_message(types.ShowMessageParams(types.MessageType.Error, text))
        finally:
            if shown:
                self.work_done_progress.end(token, types.WorkDoneProgressEnd(message=self.status.message))
            self.tell()

    async def begin_progress(self, token: str) -> bool:
        """Ask the client for a progress display; False if it has none."""
        window = self.client_capabilities.window
        self.tell()
        if not (window and window.work_done_progress):
            return False
        try:
            await asyncio.wait_for(self.work_done_progress.create_async(token), 5)
        except Exception as error:  # a client that declared the capability and refuses
            log.info("no progress display: %s", error)
            return False
        begin = types.WorkDoneProgressBegin(title="Quatrain", message="loading the model", percentage=0)
        self.work_done_progress.begin(token, begin)
        return True

    def show_progress(self, token: str | None, message: str, done: int, total: int) -> None:
        """One step of loading, at most ten a second."""
        percentage = done * 100 // total if total else None
        if not self.status.progress(message, percentage):
            return
        if token is not None:
            text = message if percentage is None else f"{message} {percentage} %"
            self.work_done_progress.report(token, types.WorkDoneProgressReport(message=text, percentage=percentage))
        self.tell()

    def reload_if_needed(self, before: Settings) -> None:
        """Load again when the model or the arithmetic changed."""
        loaded = [getattr(before, name) for name in ENGINE_SETTINGS]
        if loaded != [getattr(self.settings, name) for name in ENGINE_SETTINGS] and self.loading is not None:
            self.completer = None
            self.loading = asyncio.get_running_loop().create_task(self.load())

    def refusal(self, document: Document | None, automatic: bool) -> str | None:
        """Why this document gets no completion now, or None."""
        s = self.settings
        reasons = (
            ("disabled", not s.enabled),
            ("unknown_document", document is None),
            ("manual_only", automatic and s.trigger == "manual"),
            (
                "language_disabled",
                document is not None and bool({document.language, document.language_id} & set(s.disabled_languages)),
            ),
            ("excluded_file", document is not None and excluded(document.path, s.exclude)),
            ("file_too_large", document is not None and len(document.text) > FILE_LIMIT),
            ("model_failed", self.status.state == "error"),
            ("model_loading", self.completer is None),
        )
        return next((reason for reason, holds in reasons if holds), None)

    async def complete(self, uri: str, snapshot: Snapshot, settings: Settings) -> Completion | None:
        """Run one request on the model thread; None if a newer one took its place."""
        if before := self.running.get(uri):
            before.superseded = True
            before.stop.set()
        mine = Running(Stop(time.monotonic() + settings.time_limit_ms / 1000))
        self.running[uri] = mine
        self.note_busy()
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self.model_thread, self.work, snapshot, settings, mine)
        except asyncio.CancelledError:
            mine.superseded = True
            mine.stop.set()
            self.status.note("cancelled", snapshot.path)
            raise
        finally:
            if self.running.get(uri) is mine:
                del self.running[uri]
                self.note_busy()
        return None if mine.superseded else answer

    def work(self, snapshot: Snapshot, settings: Settings, mine: Running) -> Completion:
        """On the model thread: one completion, and no exception to the editor."""
        empty = Completion("", snapshot.cursor, snapshot.cursor, "cancelled")
        completer = self.completer  # the event loop may take it away meanwhile
        if mine.stop.reason() == "cancelled" or completer is None:
            return empty
        try:
            return completer.complete(snapshot, settings, mine.stop)
        except Exception:
            log.exception("completion failed")
            completer.forget()
            return Completion("", snapshot.cursor, snapshot.cursor, "internal_error")
