"""The runner of generated programs: whatever they do, it says so in one word and goes on."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from quatrain.lsp_server.evaluate import humaneval
from quatrain.lsp_server.evaluate.sandbox import Limits, verdict

QUICK = Limits(cpu_s=1, wall_s=10.0, memory=256 << 20)
PROGRAMS = {
    "passes": ("assert 1 + 1 == 2", "passed"),
    "fails": ("assert 1 + 1 == 3", "failed"),
    "raises": ("undefined_name", "error: NameError"),
    "does not parse": ("def f(:\n  pass", "error: SyntaxError"),
    "leaves early": ("import sys; sys.exit(0)", "error: SystemExit"),
    "recurses": ("def f(): f()\nf()", "error: RecursionError"),
    "endless loop": ("while True: pass", "timeout"),
    "endless loop that catches": ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", "timeout"),
    "memory": ("x = bytearray(1 << 30)", "memory"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"),
    "flood of output": ("for i in range(200_000): print('x' * 100)\nassert True", "passed"),
    "forks": ("import os\nwhile True: os.fork()", "error: PermissionError"),
    "starts programs": ("import subprocess; subprocess.run(['true'])", "error: PermissionError"),
    "opens sockets": ("import socket; socket.create_connection(('127.0.0.1', 9))", "error: PermissionError"),
    "writes": ("open('left-behind', 'w')", "error: PermissionError"),
    "half a character": ("x = '\ud83d'", "passed"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
@pytest.mark.parametrize("name", PROGRAMS)
def test_one_word_for_every_program(name: str) -> None:
    program, expected = PROGRAMS[name]
    assert verdict(program, QUICK) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process table")
def test_sleepers_end_and_nothing_is_left_behind() -> None:
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    impatient = Limits(cpu_s=1, wall_s=1.0)
    verdict("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", impatient)
    assert verdict("import time; time.sleep(60)", impatient) == "timeout"
    time.sleep(0.1)
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before
    assert not Path("left-behind").exists()


def test_true_solutions_pass_and_others_do_not() -> None:
    for case in [*humaneval.cases("humaneval")[:3], *humaneval.cases("humaneval", raw=True)[3:5]]:
        assert verdict(case.truth + case.test) == "passed"
        assert verdict(case.completed("    return NotImplemented", len(case.prefix)) + case.test) != "passed"
    case = humaneval.cases("humaneval-spans")[0]
    assert verdict(case.truth + case.test) == "passed"
