"""Laws of OOM kills beyond a container's end: none is missed, none is counted twice, the count never falls."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from lxcfs_exporter.scene import Observed
from lxcfs_exporter.series import Labels, Written
from lxcfs_exporter.tombstones import Tombstones
from lxcfs_py.cgroup.model import Machine, Memory, Snapshot

MACHINE = Machine((0,), (0,))


def named(path: str) -> Labels | None:
    return Labels(path, path[1:]) if path.startswith("/") else None


def observed(path: str, kills: int | None) -> Observed:
    memory = Memory(1, None, {}, oom_kills=kills, events={} if kills is None else {"oom_kill": kills, "max": 7})
    return Observed(Written(Labels(path, path[1:])), Snapshot(MACHINE, memory=memory), 5.0)


class Watched:
    """Tombstones, scrape by scrape; `paths` are alive with an incarnation and a count."""

    def __init__(self) -> None:
        self.stones = Tombstones(named)
        self.now = 100.0

    def scrape(self, alive: Sequence[tuple[str, int, int | None]] = (), logged: Sequence[str] = ()) -> dict[str, int]:
        """OOM kills that are told, by label text."""
        self.now += 15
        self.stones.log(logged, self.now)
        seen = [(path, incarnation, observed(path, kills)) for path, incarnation, kills in alive]
        told = [(each.labels.plain, each.snapshot.memory) for each in self.stones.look(seen, self.now)]
        told += [(each.labels.plain, each.memory) for each in self.stones.ended()]
        return {
            labels.split('"')[1]: memory.oom_kills for labels, memory in told if memory and memory.oom_kills is not None
        }


def test_a_kill_that_nobody_saw_in_the_cgroup_is_told_after_the_end() -> None:
    watched = Watched()
    assert watched.scrape([("/a", 1, 0)]) == {"/a": 0}
    assert watched.scrape([], ["/a"]) == {"/a": 1}
    assert watched.scrape() == {"/a": 1}
    (ended,) = watched.stones.ended()
    assert (ended.seen, ended.started, ended.memory.events) == (115.0, 5.0, {"oom_kill": 1, "max": 7})


def test_a_container_that_came_and_went_between_two_scrapes_is_known_from_the_log() -> None:
    watched = Watched()
    watched.scrape()
    assert watched.scrape([], ["/a", "/a", "no container"]) == {"/a": 2}
    assert watched.stones.kills == 3


def test_a_kill_that_both_tell_of_is_one() -> None:
    watched = Watched()
    assert watched.scrape([("/a", 1, 1)], ["/a"]) == {"/a": 1}
    assert watched.scrape([("/a", 1, 2)], ["/a"]) == {"/a": 2}
    assert watched.scrape([("/a", 1, 2)]) == {"/a": 2}


def test_kills_before_the_log_was_followed_count_too() -> None:
    watched = Watched()
    assert watched.scrape([("/a", 1, 3)]) == {"/a": 3}
    assert watched.scrape([], ["/a"]) == {"/a": 4}


def test_a_container_made_anew_under_its_path_goes_on_counting() -> None:
    watched = Watched()
    watched.scrape([("/a", 1, 1)], ["/a"])
    assert watched.scrape([("/a", 2, 0)], ["/a"]) == {"/a": 2}
    assert watched.scrape([("/a", 2, 1)], ["/a"]) == {"/a": 3}
    watched.scrape()
    assert watched.scrape([("/a", 3, 1)], ["/a"]) == {"/a": 4}


def test_without_a_log_what_the_cgroup_said_last_is_kept() -> None:
    watched = Watched()
    watched.scrape([("/a", 1, 2), ("/b", 1, None)])
    assert watched.scrape() == {"/a": 2}
    assert watched.scrape([("/a", 2, 1)]) == {"/a": 3}


def test_a_container_that_is_out_of_sight_for_one_scrape_is_the_same() -> None:
    watched = Watched()
    watched.scrape([("/a", 1, 2)])
    watched.scrape()
    assert watched.scrape([("/a", 1, 2)]) == {"/a": 2}


def test_an_ended_container_is_forgotten_after_a_while() -> None:
    watched = Watched()
    watched.scrape([("/a", 1, 1)])
    watched.scrape()
    watched.now += 900
    assert watched.scrape() == {}


def test_of_very_many_those_with_a_kill_stay() -> None:
    watched = Watched()
    watched.scrape([(f"/{number}", 1, int(number < 5)) for number in range(5000)])
    told = watched.scrape()
    assert (len(told), sum(told.values())) == (1024, 5)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 1), st.booleans()), max_size=12)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_happens_between_scrapes_the_count_is_what_happened(
    steps: list[tuple[bool, int, int, bool]],
) -> None:
    """Each step: kills in the cgroup that is there, whether it is made anew then, kills after that, whether it ends."""
    watched, total, incarnation, inside, alive = Watched(), 0, 0, 0, True
    watched.scrape([("/a", 0, 0)])
    for anew, before, after, ends in steps:
        logged = before if alive else 0
        inside += logged
        if anew or not alive:
            incarnation, inside, alive = incarnation + 1, after, True
            logged += after
        total += logged
        if ends:
            alive = False
        told = watched.scrape([("/a", incarnation, inside)] if alive else [], ["/a"] * logged)
        assert told == {"/a": total}
