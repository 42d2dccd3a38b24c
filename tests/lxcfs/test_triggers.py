"""What programs wait for at pressure files, in the run directory: none is lost with the process that served it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lxcfs_py.rundir.triggers import Trigger, Triggers

FIRST = Trigger(0x102, 0x104, "/a.1f", "sys/fs/cgroup/a\udcff/io.pressure", "some 1 2000000\xff")
SECOND = Trigger(0x106, 0x108, "/b.20", "proc/pressure/cpu", "full 1 2000000")


def handles(triggers: Triggers) -> set[int]:
    return {trigger.handle for trigger in triggers}


def test_the_next_process_finds_what_was_there(tmp_path: Path) -> None:
    before = Triggers(str(tmp_path))
    before.add(FIRST, 20)
    before.add(SECOND, 20)
    before.signal(FIRST.handle)
    before.sleep(SECOND.handle, 7)
    after = Triggers(str(tmp_path))
    assert after.get(FIRST.handle) == FIRST
    assert after.get(SECOND.handle) == SECOND
    assert after.get(5) is None
    assert (after.is_pending(FIRST.handle), after.is_pending(SECOND.handle)) == (True, False)
    assert (after.sleeper(FIRST.handle), after.sleeper(SECOND.handle)) == (None, 7)


def test_what_is_removed_is_gone_and_its_place_begins_anew(tmp_path: Path) -> None:
    triggers = Triggers(str(tmp_path))
    triggers.add(FIRST, 20)
    triggers.signal(FIRST.handle)
    triggers.sleep(FIRST.handle, 7)
    triggers.remove(FIRST.handle)
    triggers.remove(FIRST.handle)
    assert handles(triggers) == handles(Triggers(str(tmp_path))) == set()
    triggers.add(SECOND, 20)
    assert os.listdir(tmp_path / "triggers") == ["0000"]
    assert not triggers.is_pending(SECOND.handle)
    assert triggers.sleeper(SECOND.handle) is None
    assert not triggers.take(SECOND.handle, 0x10A)


def test_an_event_is_told_once_and_again_to_who_asks_again_for_the_same_request(tmp_path: Path) -> None:
    triggers = Triggers(str(tmp_path))
    triggers.add(FIRST, 20)
    assert not triggers.take(FIRST.handle, 0x10A)
    triggers.signal(FIRST.handle)
    assert triggers.take(FIRST.handle, 0x10C)
    assert Triggers(str(tmp_path)).take(FIRST.handle, 0x10C)
    assert not triggers.take(FIRST.handle, 0x10E)


def test_an_event_whose_taker_was_killed_in_between_is_told_once(tmp_path: Path) -> None:
    triggers = Triggers(str(tmp_path))
    triggers.add(FIRST, 20)
    triggers.signal(FIRST.handle)
    triggers.take(FIRST.handle, 0x10C)
    triggers.signal(FIRST.handle)  # as if it had not been cleared
    after = Triggers(str(tmp_path))
    assert after.take(FIRST.handle, 0x10C)
    assert not after.take(FIRST.handle, 0x10E)


def test_who_sleeps_is_woken_once(tmp_path: Path) -> None:
    triggers = Triggers(str(tmp_path))
    triggers.add(FIRST, 20)
    triggers.sleep(FIRST.handle, 7)
    triggers.wake(FIRST.handle)
    assert triggers.sleeper(FIRST.handle) is None
    triggers.sleep(FIRST.handle, 7)
    assert triggers.sleeper(FIRST.handle) == 7


def refused(triggers: Triggers, container: str) -> bool:
    try:
        triggers.check(container)
    except OSError as error:
        return error.errno == errno.ENOMEM
    return False


def test_each_container_has_a_share_and_the_daemon_a_bound(tmp_path: Path) -> None:
    triggers = Triggers(str(tmp_path), share=2, most=3)
    for number, container in enumerate("aab"):
        assert not refused(triggers, container)
        triggers.add(FIRST._replace(handle=number, container=container), 20)
    assert refused(triggers, "a")
    assert refused(triggers, "c")
    with pytest.raises(OSError, match="memory"):
        triggers.add(FIRST._replace(handle=9, container="c"), 20)
    triggers.remove(2)
    assert refused(triggers, "a")
    assert not refused(triggers, "c")
    again = Triggers(str(tmp_path), share=2, most=3)
    assert refused(again, "a")
    again.remove(0)
    assert not refused(again, "a")


def test_what_was_half_written_when_its_writer_was_killed_is_nothing(tmp_path: Path) -> None:
    Triggers(str(tmp_path)).add(FIRST, 20)
    (tmp_path / "triggers/making").write_text("[1, ")
    assert handles(Triggers(str(tmp_path))) == {FIRST.handle}


@pytest.mark.parametrize("text", ["", "[1, ", "7", "[1, 2]", '[1, 2, "a", "b", 3]', "[" * 100_000])
def test_what_is_damaged_is_nothing_and_its_place_is_free(tmp_path: Path, text: str) -> None:
    Triggers(str(tmp_path))
    (tmp_path / "triggers/0000").write_text(text)
    triggers = Triggers(str(tmp_path))
    assert handles(triggers) == set()
    triggers.add(FIRST, 20)
    assert handles(Triggers(str(tmp_path))) == {FIRST.handle}
