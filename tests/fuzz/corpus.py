"""The inputs that fuzzing found worth keeping: tests/fuzz/corpus/TARGET.txt, one bytes literal a line.

Kept is what reaches a step of the project's code (one line after another) that neither the seeds nor a shorter kept
input reach, and every find that was mended.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
_CODE = tuple(
    f"{Path(__file__).parents[2]}/{name}/" for name in ("lxcfs_py", "runtime/pyrun", "exporter/lxcfs_exporter")
)

Step = tuple[str, int, int]
"""File, line before, line."""


def read(target: str) -> list[bytes]:
    """What is kept for a target."""
    path = FOLDER / f"{target}.txt"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [bytes(ast.literal_eval(line)) for line in lines]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these."""
    FOLDER.mkdir(exist_ok=True)
    text = "".join(f"{data!r}\n" for data in sorted(set(inputs), key=lambda data: (len(data), data)))
    (FOLDER / f"{target}.txt").write_text(text, "ascii")


def minimised(run: Callable[[bytes], None], seeds: Iterable[bytes], inputs: Iterable[bytes]) -> list[bytes]:
    """Those inputs that reach something new, the shortest of those that do."""
    reached: set[Step] = set()
    for data in seeds:
        reached |= steps(run, data)
    kept = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        new = steps(run, data)
        if not new <= reached:
            reached |= new
            kept.append(data)
    return kept


def steps(run: Callable[[bytes], None], data: bytes) -> set[Step]:
    """From which line to which the project's code goes with an input."""
    found: set[Step] = set()
    before: dict[FrameType, int] = {}

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, before.get(frame, 0), frame.f_lineno))
            before[frame] = frame.f_lineno
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename.startswith(_CODE) else None

    outer = sys.gettrace()
    sys.settrace(call)
    try:
        run(data)
    finally:
        sys.settrace(outer)
    return found
