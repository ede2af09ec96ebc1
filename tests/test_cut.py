"""The cutter on real files with holes punched into them: properties that must hold whatever a model says."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quatrain.lsp_server.cut import Cut, Cutter
from quatrain.lsp_server.documents import Snapshot
from quatrain.lsp_server.languages import Tree, language_for, parse
from quatrain.lsp_server.merge import CLOSERS
from quatrain.lsp_server.shape import count_errors

STDLIB = Path(sysconfig.get_paths()["stdlib"])
CASES = Path(__file__).parent / "cases"
PYTHON = [STDLIB / name for name in ("textwrap.py", "bisect.py", "shlex.py", "queue.py", "csv.py", "heapq.py")]
C = [Path("/usr/include") / name for name in ("stdlib.h", "string.h", "pthread.h", "regex.h")]


def read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


FILES = [(language_for(None, str(p)), read(p)) for p in [*PYTHON, *C] if p.exists()]

JAVASCRIPT = """\
import { a, b } from './c.js';

/** Keeps things. */
export class Store extends Base {
  #items = new Map();

  constructor(size = 10) {
    super(size);
    this.size = size;
  }

  async load(url, { signal } = {}) {
    const reply = await fetch(url, { signal });
    if (!reply.ok) {
      throw new Error(`bad reply: ${reply.status}`);
    } else if (reply.redirected) {
      return null;
    }
    return (await reply.json())
      .filter((x) => x !== undefined)
      .map(({ id, ...rest }) => [id, rest]);
  }
}

export function join(parts, mark = ', ') {
  let out = '';
  for (const part of parts) {
    switch (typeof part) {
      case 'string':
        out += part + mark;
        break;
      default:
        out += String(part);
    }
  }
  return out.length > 0 ? out : undefined;
}
"""
FILES.append(("javascript", JAVASCRIPT))


def hole(rng: random.Random) -> tuple[Snapshot, str, str]:
    """A real file with a piece of a line cut out, what stood there, and what a perfect model would say."""
    language, text = rng.choice(FILES)
    lines = text.split("\n")
    row = rng.choice([i for i, line in enumerate(lines) if len(line.strip()) > 2])
    start = sum(len(line) + 1 for line in lines[:row])
    indent = len(lines[row]) - len(lines[row].lstrip())
    end = start + len(lines[row].rstrip("\r"))
    begin = rng.choice([start, start + indent, rng.randrange(start + indent, end)])
    end = rng.choice([end, end, rng.randrange(begin, end)])
    rest = text[:begin] + text[end:]
    snapshot = Snapshot("file", language, rest, begin, parse(language, rest))
    return snapshot, text[begin:end], text[begin : begin + 800].replace("\r", "")


def complete(snapshot: Snapshot, stream: str, size: int) -> Cut:
    cutter = Cutter(snapshot)
    for start in range(0, len(stream), size):
        cut = cutter.feed(stream[start : start + size])
        if cut is not None:
            return cut
    return cutter.finish("length")


def errors(language: str, text: str) -> int:
    tree = parse(language, text)
    assert isinstance(tree, Tree)
    return count_errors(tree, 100_000)


def check(snapshot: Snapshot, cut: Cut) -> None:
    """What holds for every completion."""
    text, cursor = snapshot.text, snapshot.cursor
    replaced = text[cursor : cursor + cut.replace]
    assert "\n" not in replaced
    assert not replaced.strip(CLOSERS + "({:= ")
    assert cut.reason
    assert all(0 < offset <= len(cut.text) for offset, _ in cut.safe)
    assert list(cut.safe) == sorted(cut.safe)
    if cut.text:
        after = text[:cursor] + cut.text + text[cursor + cut.replace :]
        assert isinstance(snapshot.tree, Tree)
        assert errors(snapshot.language, after) <= count_errors(snapshot.tree, 100_000)
    else:
        assert cut.replace == 0 and cut.safe == ()


@pytest.mark.parametrize("seed", range(40))
def test_the_truth_is_cut_well(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(4):
        snapshot, _, stream = hole(rng)
        check(snapshot, complete(snapshot, stream, 4))


@pytest.mark.parametrize("seed", range(40))
def test_noise_does_no_harm(seed: int) -> None:
    rng = random.Random(seed + 1_000)
    for _ in range(4):
        snapshot, _, _ = hole(rng)
        _, _, stream = hole(rng)
        check(snapshot, complete(snapshot, stream, 5))


def test_whole_lines_come_back() -> None:
    """A line taken out of a file and streamed back with all that follows is offered as that line."""
    rng = random.Random(11)
    right = total = 0
    for _ in range(150):
        snapshot, truth, stream = hole(rng)
        line_end = snapshot.text[snapshot.cursor :].split("\n")[0]
        if line_end.strip() or not truth.strip():
            continue
        total += 1
        right += complete(snapshot, stream, 4).text.strip() == truth.strip()
    assert right / total > 0.9


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_round_size_changes_nothing(seed: int, sizes: list[int]) -> None:
    rng = random.Random(seed)
    snapshot, _, stream = hole(rng)
    cutter = Cutter(snapshot)
    position, cut, turn = 0, None, 0
    while cut is None and position < len(stream):
        size = sizes[turn % len(sizes)]
        cut = cutter.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert (cut or cutter.finish("length")) == complete(snapshot, stream, 10_000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.text(alphabet="ab (){}[]\"'\n:;,.=#/\\`<>é😀\t", max_size=120))
def test_garbage_is_harmless(seed: int, stream: str) -> None:
    snapshot, _, _ = hole(random.Random(seed))
    check(snapshot, complete(snapshot, stream, 7))


def test_a_finished_cutter_stays_finished() -> None:
    text = "def f(x):\n    \n    return y\n"
    cutter = Cutter(Snapshot("a.py", "python", text, 14, parse("python", text)))
    cut = cutter.feed("y = 1\n    return")
    assert cut is not None and cut.text == "y = 1"
    assert cutter.feed("more\n") == cut
    assert cutter.finish("length") == cut


def test_safe_offsets_name_their_nodes() -> None:
    text = "def f(x):\n    \n    return y\n"
    cutter = Cutter(Snapshot("a.py", "python", text, 14, parse("python", text)))
    cut = cutter.feed("y = g(a, h(1), key=2)\n    return y\n")
    assert cut is not None
    kinds = {cut.text[:offset]: kind for offset, kind in cut.safe}
    assert kinds["y = g(a"] == "argument"
    assert kinds["y = g(a, h(1)"] == "argument"
    assert kinds["y = g(a, h(1), key=2)"] == "statement"


def test_no_text_at_all() -> None:
    text = "x = 1\n"
    cut = Cutter(Snapshot("a.py", "python", text, 6, parse("python", text))).finish("cancelled")
    assert cut == Cut("", 0, "cancelled")
