"""Which CPUs a container sees, and the files and names below /sys/devices/system/cpu."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Quota, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus
from tests.lxcfs.views.containers import FOUR, container, cpu, snapshots


@pytest.mark.parametrize(
    ("online", "quota", "effective", "shown"),
    [
        ((0, 1, 2, 3), None, None, (0, 1, 2, 3)),
        ((0, 1, 2, 3), (100_000, 100_000), None, (0,)),
        ((0, 1, 2, 3), (100_001, 100_000), None, (0, 1)),
        ((0, 1, 2, 3), (1_000, 100_000), None, (0,)),
        ((0, 1, 2, 3), (900_000, 100_000), None, (0, 1, 2, 3)),
        ((0, 1, 2, 3), None, (1, 3), (1, 3)),
        ((0, 1, 2, 3), (100_000, 50_000), (1, 2, 3), (1, 2)),
        ((0, 1, 2, 3), (100_000, 50_000), (3,), (3,)),
        ((0, 2), None, (0, 1, 2), (0, 2)),
        ((0, 2), None, (1,), (0, 2)),
        ((1, 3), (100_000, 100_000), None, (1,)),
    ],
)
def test_visible_are_the_first_of_the_effective_set_as_many_as_the_quota_is_worth(
    online: tuple[int, ...],
    quota: tuple[int, int] | None,
    effective: tuple[int, ...] | None,
    shown: tuple[int, ...],
) -> None:
    own = cpu(quota=Quota(*quota) if quota else None, cpus=effective)
    assert cpus.visible(container(machine=replace(FOUR, online=online), cpu=own)) == shown


def test_without_a_cpu_controller_all_are_visible() -> None:
    assert cpus.visible(container(cpu=None)) == FOUR.online


@given(snapshots)
def test_visible_is_a_part_of_what_is_online_ascending_and_never_empty(snapshot: Snapshot) -> None:
    shown = cpus.visible(snapshot)
    assert shown
    assert set(shown) <= set(snapshot.machine.online)
    assert list(shown) == sorted(shown)


@given(snapshots)
def test_online_present_and_offline_agree(snapshot: Snapshot) -> None:
    online, possible = snapshot.machine.online, snapshot.machine.possible
    off = tuple(number for number in possible if number not in online)
    texts = [parse.format_cpu_list(numbers).encode() + b"\n" for numbers in (online, online, off)]
    views = (cpus.online, cpus.present, cpus.offline)
    shown, present, hidden = (parse.cpu_list(view(snapshot, text)) for view, text in zip(views, texts, strict=True))
    assert shown == present == cpus.visible(snapshot)
    assert sorted((*shown, *hidden)) == sorted(possible)


def test_without_a_limit_the_lists_are_the_hosts() -> None:
    free = container(cpu=cpu())
    for view, text in ((cpus.online, b"0-3\n"), (cpus.present, b"0-7\n"), (cpus.offline, b"4-7,8-31\n")):
        assert view(free, text) is text


def test_offline_keeps_what_the_host_has_beyond_the_possible() -> None:
    own = container(cpu=cpu(cpus=(0, 1)))
    assert cpus.offline(own, b"4-7\n") == b"2-7\n"
    assert cpus.offline(own, b"\n") == b"2-3\n"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("cpu0", False),
        ("cpu2", True),
        ("cpu12", True),
        ("cpu", False),
        ("cpufreq", False),
        ("cpuidle", False),
        ("online", False),
        ("cpu2x", False),
        ("cpu\N{SUPERSCRIPT TWO}", False),
        ("2", False),
    ],
)
def test_hides(name: str, hidden: bool) -> None:
    assert cpus.hides(name, (0, 1)) is hidden


@pytest.mark.parametrize(
    ("text", "cut"),
    [(b"0-3\n", b"0-1\n"), (b"1\n", b"1\n"), (b"2-3\n", b"\n"), (b"\n", b"\n"), (b"0,2\n", b"0\n")],
)
def test_cut_list(text: bytes, cut: bytes) -> None:
    assert cpus.cut_list(text, (0, 1)) == cut


@pytest.mark.parametrize(
    ("text", "shown", "cut"),
    [
        (b"f\n", (0, 1), b"3\n"),
        (b"0000000f\n", (0, 1), b"00000003\n"),
        (b"ff,ffffffff\n", (0, 33, 39), b"82,00000001\n"),
        (b"c\n", (0, 1), b"0\n"),
        (b"3\n", (0, 1, 2, 3), b"3\n"),
    ],
)
def test_cut_mask_keeps_the_hosts_width(text: bytes, shown: tuple[int, ...], cut: bytes) -> None:
    assert cpus.cut_mask(text, shown) == cut


@pytest.mark.parametrize("text", [b"\n", b"a,,b\n", b"g\n"])
def test_cut_mask_refuses(text: bytes) -> None:
    with pytest.raises(ParseError):
        cpus.cut_mask(text, (0,))


@given(st.sets(st.integers(0, 95)), st.sets(st.integers(0, 95)))
def test_masks_and_lists_say_the_same(host: set[int], shown: set[int]) -> None:
    mask = b"%024x" % sum(1 << number for number in host)
    text = b",".join((mask[:8], mask[8:16], mask[16:])) + b"\n"
    cut = int(cpus.cut_mask(text, sorted(shown)).strip().replace(b",", b""), 16)
    listed = parse.cpu_list(cpus.cut_list(parse.format_cpu_list(tuple(sorted(host))).encode(), sorted(shown)))
    assert [number for number in range(96) if cut >> number & 1] == list(listed) == sorted(host & shown)


def test_every_topology_file_of_a_captured_machine_that_names_cpus_is_cut() -> None:
    named = {"core_cpus", "core_siblings", "thread_siblings", "package_cpus", "die_cpus", "cluster_cpus"}
    assert {*(f"{name}_list" for name in named), "shared_cpu_list"} <= set(cpus.LISTS)
    assert {*named, "shared_cpu_map"} <= set(cpus.MASKS)


@pytest.mark.parametrize(
    ("text", "cut"),
    [(b"0 1 2 3\n", b"0 1\n"), (b"1\n", b"1\n"), (b"2, 3\n", b"\n"), (b"0, 1, 2\n", b"0, 1\n"), (b"\n", b"\n")],
)
def test_cut_words_keeps_what_is_between_them(text: bytes, cut: bytes) -> None:
    assert cpus.cut_words(text, (0, 1)) == cut
