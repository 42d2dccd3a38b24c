"""What outlives a worker, damaged: records as bytes, and the files of the run directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lxcfs_py import records, rundir
from lxcfs_py.cgroup.model import Load, Tasks
from lxcfs_py.errors import ParseError
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.records import LoadRecord
from lxcfs_py.rundir import counters, state
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.records import Records
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.state import Process, State
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.rundir.triggers import Trigger, Triggers
from lxcfs_py.views import cputime
from tests.fuzz.draw import Draw
from tests.lxcfs.views.containers import container, cpu

_HANDLE = 2
_LOAD = LoadRecord("sys/fs/cgroup/x", 2, 1, 5, 7, Load(1, 2, 3), Tasks(1, 0, 4, 9))
_TRIGGER = Trigger(_HANDLE, 4, "/x.1f", "sys/fs/cgroup/x/memory.pressure", "some 1 2000000")
_SNAPSHOT = container(cpu=cpu(1_000_000, per_cpu={}))


def unpack(data: bytes) -> None:
    """A record is read or counts as none; a ledger goes on from whatever there is, and what it gives can be read."""
    records.split(data)
    load = records.unpack_load(data)
    if load is not None:
        assert records.unpack_load(records.pack_load(load)) == load
    _, ledger = records.unpack_ledger(data)
    for previous in (ledger, data):
        after, clocks = cputime.advance(previous, _SNAPSHOT)
        again, more = cputime.advance(after, _SNAPSHOT)
        assert clocks == more
        assert again == after


def record_seeds() -> Iterator[bytes]:
    ledger = cputime.advance(None, _SNAPSHOT)[0]
    yield records.pack_load(_LOAD)
    yield records.pack_ledger("sys/fs/cgroup/x", 7, ledger)
    yield ledger


def _use_nodes(folder: str) -> None:
    for _ in range(2):
        nodes = Nodes(folder, tree.NUMBERS, tree.FIRST_FREE)
        number = nodes.number("proc/meminfo")
        assert nodes.path(number) == "proc/meminfo"
        with contextlib.suppress(OSError):
            nodes.path(number + 1)


def _use_texts(folder: str) -> None:
    texts = Texts(folder)
    texts.ends(_HANDLE, 0)
    texts.kept(_HANDLE)
    texts.total()
    texts.keep(_HANDLE, b"text")
    texts.whole(_HANDLE, b"text")
    assert texts.ends(_HANDLE, 4) or texts.kept(_HANDLE) in (b"text", None)
    texts.release(_HANDLE)
    assert texts.kept(_HANDLE) is None


def _use_slot(folder: str) -> None:
    slot = Slot(f"{folder}/slots/0", protocol.REQUEST_SIZE)
    length = slot.length()
    if length:
        slot.idle()
        slot.begin_replay()
        with contextlib.suppress(ParseError):
            protocol.decode(slot.buffer, length)
    slot.clear()
    assert slot.unique() == 0


def _use_counters(folder: str) -> None:
    mine = counters.Counters(f"{folder}/counters/0")
    mine.words[1] = 0
    mine.add("x")
    counters.read_all(f"{folder}/counters")


def _use_records(folder: str) -> None:
    kept = Records(folder)
    kept.keys("load")
    kept.record("load", "x")
    kept.update("load", "x", lambda old: ((old or b"")[:10] + b"x" * 700, None))
    found = kept.record("load", "x")
    assert found is not None
    assert found.endswith(b"x" * 700)
    assert "x" in kept.keys("load")
    kept.remove("load", "x")
    assert kept.record("load", "x") is None


def _use_state(folder: str) -> None:
    with contextlib.suppress(ParseError):
        known = state.read(folder)
        assert known is None or isinstance(known.supervisor, Process)


def _use_triggers(folder: str) -> None:
    triggers = Triggers(folder)
    for trigger in triggers:
        triggers.sleep(trigger.handle, 1)
        triggers.take(trigger.handle, 2)
        triggers.remove(trigger.handle)
    triggers.add(_TRIGGER, 5)
    triggers.signal(_HANDLE)
    assert triggers.get(_HANDLE) == _TRIGGER
    assert triggers.take(_HANDLE, 4)
    assert Triggers(folder).get(_HANDLE) == _TRIGGER


def _record_file(folder: str) -> str:
    kept = Records(folder)
    kept.update("load", "x", lambda _: (records.pack_load(_LOAD), None))
    (name,) = (name for name in os.listdir(f"{folder}/records") if name != "lock")
    return f"records/{name}"


FILES: Mapping[str, Callable[[str], None]] = {
    "nodes": _use_nodes,
    f"texts/{_HANDLE:x}": _use_texts,
    "handles": _use_texts,
    "kept": _use_texts,
    "slots/0": _use_slot,
    "counters/0": _use_counters,
    "records": _use_records,
    "state.json": _use_state,
    "triggers/0000": _use_triggers,
    "events": _use_triggers,
}
"""What uses each file of the run directory; a new one comes last."""


def damaged(data: bytes) -> None:
    """Whoever uses a file of the run directory lives with whatever it says."""
    draw = Draw(data)
    name, use = list(FILES.items())[draw.byte() % len(FILES)]
    folder = tempfile.mkdtemp(dir="/dev/shm")
    try:
        rundir.make(folder)
        for below in ("records", "triggers"):
            os.makedirs(f"{folder}/{below}", exist_ok=True)
        Path(folder, _record_file(folder) if name == "records" else name).write_bytes(draw.rest())
        use(folder)
    finally:
        shutil.rmtree(folder)


def file_seeds() -> Iterator[bytes]:
    """Each file as it is after some use."""
    for place, (name, use) in enumerate(FILES.items()):
        folder = tempfile.mkdtemp(dir="/dev/shm")
        try:
            rundir.make(folder)
            yield bytes([place]) + _used(folder, name, use)
        finally:
            shutil.rmtree(folder)


def _used(folder: str, name: str, use: Callable[[str], None]) -> bytes:
    os.makedirs(f"{folder}/records")
    if name == "state.json":
        state.write(folder, State("0.1.0", "/mnt", "device", 1.0, Process(1, 2), (Process(3, 4),)))
    elif name == "records":
        name = _record_file(folder)
    else:
        use(folder)
    path = Path(folder, name)
    return path.read_bytes()[:4096] if path.exists() else b"text"
