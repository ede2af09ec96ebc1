"""The server as a real process over stdio, with an engine that follows a script."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lsp_client import INLINE, Client, place

# an emoji, a tab, CRLF and a form feed before the places that are edited
TEXT = "s = '🙂'\r\n\f\r\nif s:\r\n\tx = 1  # 🙂\r\n\ty = \r\n"


def scripted(script: str = "answer = 42\nmore\n", pause: float = 0, load: float = 0) -> Client:
    environment = {"QUATRAIN_SCRIPT": script, "QUATRAIN_PAUSE": str(pause), "QUATRAIN_LOAD": str(load)}
    return Client("--engine", "fakes:open_scripted", environment=environment)


@pytest.fixture
def client() -> Iterator[Client]:
    with scripted() as client:
        client.initialize()
        client.wait_state("ready")
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    """One process for tests that need nothing of it but that it serves: starting one costs a second."""
    with scripted() as client:
        client.initialize()
        client.wait_state("ready")
        yield client


def reasons(client: Client) -> dict[str, int]:
    return client.request("quatrain/status")["reasons"]


def test_capabilities_and_clean_exit() -> None:
    with scripted() as client:
        result = client.initialize()
        capabilities = result["capabilities"]
        assert capabilities["inlineCompletionProvider"] == {}
        assert "completionProvider" not in capabilities
        assert capabilities["textDocumentSync"] == {"openClose": True, "change": 2}
        assert result["serverInfo"]["name"] == "quatrain"
        assert client.request("shutdown") is None
        client.notify("exit")
        assert client.process.wait(10) == 0


def test_exit_without_shutdown_is_a_failure() -> None:
    with scripted() as client:
        client.initialize()
        client.notify("exit")
        assert client.process.wait(10) == 1


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 18), ("utf-16", 16), ("utf-32", 15)])
def test_every_position_encoding(encoding: str, column: int) -> None:
    with scripted() as client:
        capabilities = INLINE | {"general": {"positionEncodings": [encoding]}}
        assert client.initialize(capabilities)["capabilities"]["positionEncoding"] == encoding
        client.wait_state("ready")
        uri = client.open("x = 1\r\n\tabcde = '🙂' + \r\n")
        (item,) = client.inline(uri, 1, column)
        assert item["insertText"] == "answer = 42"
        assert item["range"] == {"start": place(1, column), "end": place(1, column)}


def test_typing_over_stdio(client: Client) -> None:
    uri = client.open(TEXT)
    (item,) = client.inline(uri, 4, 5)
    assert item["range"]["start"] == place(4, 5)
    for i, character in enumerate("answ"):
        client.change(uri, 2 + i, (4, 5 + i), (4, 5 + i), character)
        (item,) = client.inline(uri, 4, 6 + i)
        assert item["insertText"] == "answer = 42"[i + 1 :]
        assert item["data"]["source"] == "memory"
    assert reasons(client) == {}


def test_edits_after_a_form_feed_and_an_emoji(shared: Client) -> None:
    uri = shared.open(TEXT, "file:///work/edits_a.py")
    shared.change(uri, 2, (3, 13), (3, 13), "!")  # after the emoji: 13 UTF-16 units
    shared.change(uri, 3, (4, 5), (4, 5), "answer")
    (item,) = shared.inline(uri, 4, 11)
    assert item["range"]["start"] == place(4, 11)


def test_clients_without_inline_completion_get_a_menu_item() -> None:
    with scripted() as client:
        capabilities = client.initialize({"textDocument": {"completion": {}}})["capabilities"]
        assert "completionProvider" in capabilities
        while client.request("quatrain/status")["state"] != "ready":
            time.sleep(0.02)
        uri = client.open("x = 1\nans\n")
        params = {"textDocument": {"uri": uri}, "position": place(1, 3)}
        found = client.request("textDocument/completion", params)
        (item,) = found["items"]
        assert item["textEdit"]["range"] == {"start": place(1, 0), "end": place(1, 3)}
        assert item["textEdit"]["newText"].startswith("ans")
        assert found["isIncomplete"] is True


def test_newest_wins_and_the_older_answer_is_null() -> None:
    with scripted("slow answer\n", pause=0.2) as client:
        client.initialize()
        client.wait_state("ready")
        uri = client.open("x = \ny = \n")
        old = client.start("textDocument/inlineCompletion", client.inline_params(uri, 0, 4))
        new = client.start("textDocument/inlineCompletion", client.inline_params(uri, 1, 4))
        assert client.wait(old) == {"id": old, "jsonrpc": "2.0", "result": None}
        assert client.wait(new)["result"][0]["range"]["start"] == place(1, 4)
        assert reasons(client) == {"superseded": 1}


def test_cancel_stops_the_work() -> None:
    with scripted("slow answer " * 10 + "\n\fsoon\n", pause=0.2) as client:  # six seconds, and less than one
        client.initialize()
        client.wait_state("ready")
        uri = client.open("x = \n")
        number = client.start("textDocument/inlineCompletion", client.inline_params(uri, 0, 4))
        time.sleep(0.1)
        client.notify("$/cancelRequest", {"id": number})
        assert client.wait(number)["error"]["code"] == -32800
        began = time.monotonic()
        client.open("short = \n", "file:///work/b.py")
        number = client.start("textDocument/inlineCompletion", client.inline_params("file:///work/b.py", 0, 8))
        assert client.wait(number)["result"][0]["insertText"] == "soon"
        assert time.monotonic() - began < 4, "the cancelled request went on working"


EDITS = {
    "a line above": ((0, 0), (0, 0), "# 🙂\n\n"),
    "before it on its line": ((1, 0), (1, 1), "🙂 + abc"),
    "the word at the cursor": ((1, 4), (1, 7), "?"),
    "everything": ((0, 0), (9, 0), ""),
}


def test_an_edit_while_the_answer_is_on_its_way_does_not_reach_it() -> None:
    selected = {"range": {"start": place(1, 4), "end": place(1, 7)}, "text": "answ"}
    with scripted("wered()\n", pause=0.1) as client:
        client.initialize()
        client.wait_state("ready")
        for name, edit in EDITS.items():
            for choice, start in ((None, place(1, 7)), (selected, place(1, 4))):
                # a document of its own each time: what is remembered of the last one would come at once
                uri = client.open("s = '🙂'\nx = ans\n", f"file:///work/{len(name)}{start['character']}.py")
                number = client.start("textDocument/inlineCompletion", client.inline_params(uri, 1, 7, 2, choice))
                client.change(uri, 2, *edit)
                (item,) = client.wait(number)["result"]
                assert item["range"] == {"start": start, "end": place(1, 7)}, name


def test_an_edit_does_not_reach_a_menu_item_on_its_way() -> None:
    with scripted("wered()\n", pause=0.1) as client:
        client.initialize({"textDocument": {"completion": {}}})
        while client.request("quatrain/status")["state"] != "ready":
            time.sleep(0.02)
        for name, edit in EDITS.items():
            uri = client.open("s = '🙂'\nx = ans\n", f"file:///work/{len(name)}.py")
            number = client.start("textDocument/completion", {"textDocument": {"uri": uri}, "position": place(1, 7)})
            client.change(uri, 2, *edit)
            (item,) = client.wait(number)["result"]["items"]
            assert item["textEdit"]["range"] == {"start": place(1, 4), "end": place(1, 7)}, name
            assert item["textEdit"]["newText"] == "answered()"


def test_the_popup_selection_is_extended(shared: Client) -> None:
    uri = shared.open("import os\nos.pa\n", "file:///work/the_pop.py")
    selected = {"range": {"start": place(1, 3), "end": place(1, 5)}, "text": "path"}
    (item,) = shared.inline(uri, 1, 5, selected=selected)
    assert item["insertText"].startswith("path") and len(item["insertText"]) > 4
    assert item["range"]["start"] == place(1, 3)
    assert item["range"]["end"]["character"] >= 5


def test_reasons_for_nothing() -> None:
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"enabled": False}, 1, "disabled"),
        ({"trigger": "manual"}, 2, "manual_only"),
        ({"disabledLanguages": ["python"]}, 2, "language_disabled"),
        ({"exclude": ["**/a.py"]}, 2, "excluded_file"),
    )
    with scripted() as client:
        client.initialize(options=cases[0][0])  # the others are set later
        client.wait_state("ready")
        uri = client.open("x = \n")
        for number, (options, kind, reason) in enumerate(cases):
            if number:
                client.notify("workspace/didChangeConfiguration", {"settings": {"quatrain": options}})
            assert client.inline(uri, 0, 4, kind) == [], reason
            assert reasons(client) == {said: 1 for _, _, said in cases[: number + 1]}
            client.notify("workspace/didChangeConfiguration", {"settings": {"quatrain": dict.fromkeys(options)}})
            assert client.inline(uri, 0, 4, kind), reason


def test_who_asks_sees_what_the_model_is_not_sure_of() -> None:
    with scripted() as client:
        client.initialize(options={"confidence": 0.95})  # the script is sure to 0.9 of every token
        client.wait_state("ready")
        uri = client.open("x = \n")
        assert client.inline(uri, 0, 4, kind=2) == []
        assert reasons(client) == {"filtered_confidence": 1}
        assert client.inline(uri, 0, 4, kind=1)[0]["insertText"] == "answer = 42"
        assert client.inline(uri, 0, 4, kind=2)[0]["insertText"] == "answer = 42"  # it is remembered


def test_while_loading_typing_gets_nothing_and_asking_waits() -> None:
    with scripted(load=1.5) as client:
        client.initialize()
        uri = client.open("x = \n")
        assert client.inline(uri, 0, 4, kind=2) == []
        assert client.inline(uri, 0, 4, kind=1)[0]["insertText"] == "answer = 42"
        assert reasons(client) == {"model_loading": 1}
        methods = [note["method"] for note in client.notifications]
        assert "window/workDoneProgress/create" in methods
        values = [n["params"]["value"] for n in client.notifications if n["method"] == "$/progress"]
        assert values[0]["kind"] == "begin" and values[-1]["kind"] == "end"
        assert any(v["kind"] == "report" for v in values)


def test_a_model_that_cannot_be_had_is_said_once_and_with_a_remedy(tmp_path: Any) -> None:
    environment = {"QUATRAIN_HOME": str(tmp_path)}
    with Client("--model", "nothing.gguf", environment=environment) as client:
        client.initialize()
        client.wait_state("error")
        shown = [n["params"]["message"] for n in client.notifications if n["method"] == "window/showMessage"]
        assert shown and "no model named 'nothing.gguf'" in shown[0]
        assert client.inline(client.open("x = \n"), 0, 4) == []
        assert reasons(client) == {"model_failed": 1}


def test_bad_settings_are_told_once(client: Client) -> None:
    for _ in range(2):
        client.notify("workspace/didChangeConfiguration", {"settings": {"quatrain": {"maxTokens": "many"}}})
    client.request("quatrain/status")
    shown = [n["params"] for n in client.notifications if n["method"] == "window/showMessage"]
    assert len(shown) == 1 and "maxTokens" in shown[0]["message"]


def test_unknown_and_closed_documents(client: Client) -> None:
    assert client.inline("file:///nowhere.py", 0, 0) == []
    uri = client.open("x = \n")
    client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    client.change(uri, 9, (0, 0), (0, 0), "y")
    assert client.inline(uri, 0, 4) == []
    assert reasons(client) == {"unknown_document": 2}


def test_positions_past_the_ends(shared: Client) -> None:
    uri = shared.open("x = \ny\n", "file:///work/positio.py")
    (item,) = shared.inline(uri, 0, 999)
    assert item["range"]["start"] == place(0, 4)
    (item,) = shared.inline(uri, 99, 0)
    assert item["range"]["start"] == place(2, 0)


def test_requests_before_initialize_and_after_shutdown() -> None:
    with scripted() as client:
        early = client.wait(client.start("textDocument/inlineCompletion", client.inline_params("file:///a", 0, 0)))
        assert early["error"]["code"] == -32002
        client.notify("textDocument/didOpen", {"nonsense": 1})
        client.initialize()
        again = client.wait(client.start("initialize", {"processId": None, "rootUri": None, "capabilities": {}}))
        assert again["error"]["code"] == -32600
        client.request("shutdown")
        late = client.wait(client.start("quatrain/status"))
        assert late["error"]["code"] == -32600


MALFORMED = [b"{not json", b'"text"', b"[]", b"{}", b'{"jsonrpc": "1.0", "id": 7000}', b"\xff\xfe{}", b"null"]


def test_malformed_messages_do_not_end_the_session() -> None:
    with scripted() as client:
        for body in MALFORMED:
            client.send_raw(body)
        client.initialize()
        client.wait_state("ready")
        uri = client.open("x = \n")
        for body in MALFORMED:
            client.send_raw(body)
            assert client.inline(uri, 0, 4)[0]["insertText"] == "answer = 42"


@pytest.mark.slow
@pytest.mark.parametrize("body", MALFORMED)
def test_each_malformed_message_alone_does_not_end_the_session(body: bytes) -> None:
    """The same, with nothing before it that could hide what it does."""
    with scripted() as client:
        client.send_raw(body)
        client.initialize()
        client.wait_state("ready")
        client.send_raw(body)
        assert client.inline(client.open("x = \n"), 0, 4)[0]["insertText"] == "answer = 42"


def test_bad_parameters_are_answered(shared: Client) -> None:
    answer = shared.wait(shared.start("textDocument/inlineCompletion", {"position": "here"}))
    assert answer["error"]["code"] == -32602
    answer = shared.wait(shared.start("textDocument/noSuchThing", {}))
    assert answer["error"]["code"] == -32601


def test_end_of_input_ends_the_process(client: Client) -> None:
    assert client.process.stdin
    client.process.stdin.close()
    assert client.process.wait(10) == 1


def test_the_death_of_the_parent_ends_the_process() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with scripted() as client:
        params = {"processId": parent.pid, "rootUri": None, "capabilities": {}}
        client.request("initialize", params)
        client.notify("initialized", {})
        client.request("quatrain/status")
        parent.kill()
        parent.wait()
        assert client.process.wait(10) == 1


def test_the_status_request_needs_no_parameters(shared: Client) -> None:
    shared.send(id=900, method="quatrain/status")
    assert shared.wait(900)["result"]["state"] == "ready"


def test_work_that_takes_a_moment_is_told_twice_and_quick_work_never() -> None:
    with scripted("abcdefghijklmnop\n", pause=0.1) as client:
        client.initialize()
        client.wait_state("ready")
        before = len(client.notifications)
        uri = client.open("x = \n")
        other = client.open("x = \n", "file:///work/b.py")
        numbers = [
            client.start("textDocument/inlineCompletion", client.inline_params(u, 0, column))
            for u, column in ((uri, 3), (uri, 4), (other, 4))  # the second stops the first, the third waits for it
        ]
        for number in numbers:
            client.wait(number)
        client.request("quatrain/status")
        notes = [n["params"] for n in client.notifications[before:] if n["method"] == "didChangeStatus"]
        assert [(note["busy"], note["state"]) for note in notes] == [(True, "ready"), (False, "ready")]
        client.change(other, 2, (0, 4), (0, 4), "abc")
        assert client.inline(other, 0, 7)[0]["data"]["source"] == "memory"
        assert client.request("quatrain/status")["busy"] is False
        assert [n["method"] for n in client.notifications[before:]].count("didChangeStatus") == 2


def test_accept_reporting(client: Client) -> None:
    uri = client.open("x = \n")
    (item,) = client.inline(uri, 0, 4)
    client.request("workspace/executeCommand", {"command": item["command"]["command"], "arguments": []})
    client.notify("textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": 3})
    status = client.request("quatrain/status")
    assert (status["offered"], status["accepted"], status["partlyAccepted"]) == (1, 1, 1)


def test_nothing_but_the_protocol_on_standard_output() -> None:
    with scripted() as client:
        client.initialize()
        client.wait_state("ready")
        client.inline(client.open("x = \n"), 0, 4)
        for _ in range(100):  # the log comes through a pipe of its own
            if "answer" in client.log():
                return
            time.sleep(0.1)
        pytest.fail(f"no answer in the log: {client.log()}")
