"""What became of dead mounts, as text for people and as JSON for programs.

JSON, with times in seconds:

    {"containers": [{"pid": 4242, "cgroup": "/a/b", "why": "", "mounts": [
        {"path": "/proc/meminfo", "fstype": "fuse.lxcfs", "device": "0:44", "root": "/proc/meminfo",
         "to": "/var/lib/lxcfs-py/proc/meminfo", "state": "repaired", "why": ""}]}],
     "repaired": 1, "due": 0, "left": 0, "failed": 0, "silent": ["0:45"], "hidden": 0, "seconds": 0.02}

`state` is "repaired", "due" (what would be repaired), "left" or "failed"; `why` of a container is what failed for all
of it. `to` is null where lxcfs-py has nothing to show there. `silent` are devices that somebody holds who does not
answer, `hidden` counts processes whose mounts may not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxcfs_py import words
from lxcfs_py.repair.outcome import Mended, Outcome, State
from lxcfs_py.repair.run import Survey

_HEAD = ("PID", "PATH", "WAS", "NOW", "RESULT", "CGROUP")
_RIGHT = "r"
_RESULTS: dict[State, str] = {"repaired": "repaired", "due": "would be repaired", "left": "left", "failed": "failed"}


def document(known: Survey, all_mended: Sequence[Mended], seconds: float) -> dict[str, Any]:
    """What `--json` prints."""
    counts: dict[str, int] = {state: count(all_mended, state) for state in _RESULTS}
    containers = [
        {
            "pid": mended.pid,
            "cgroup": words.escaped(mended.cgroup),
            "why": mended.why,
            "mounts": [each._asdict() | {"path": words.escaped(each.path)} for each in mended.outcomes],
        }
        for mended in all_mended
    ]
    rest = {"silent": list(known.silent), "hidden": known.hidden, "seconds": round(seconds, 3)}
    return {"containers": containers, **counts, **rest}


def count(all_mended: Sequence[Mended], state: State) -> int:
    """Mounts in a state, in all containers."""
    return sum(mended.count(state) for mended in all_mended)


def lines(all_mended: Sequence[Mended]) -> list[str]:
    """The table for people."""
    rows = [_row(mended, outcome) for mended in all_mended for outcome in mended.outcomes]
    rows += [
        (str(mended.pid), "", "", "", f"failed: {mended.why}", _group(mended)) for mended in all_mended if mended.why
    ]
    return words.table([_HEAD, *rows], _RIGHT) if rows else []


def _row(mended: Mended, outcome: Outcome) -> tuple[str, ...]:
    result = _RESULTS[outcome.state]
    return (
        str(mended.pid),
        words.escaped(outcome.path),
        f"{outcome.fstype} {outcome.device} {words.escaped(outcome.root)}",
        words.escaped(outcome.to or "-"),
        f"{result}: {words.escaped(outcome.why)}" if outcome.why else result,
        _group(mended),
    )


def _group(mended: Mended) -> str:
    return words.escaped(mended.cgroup)


def summary(known: Survey, all_mended: Sequence[Mended], seconds: float, *, dry: bool) -> list[str]:
    """What was done in all, and what could not be seen."""
    state: State = "due" if dry else "repaired"
    containers = sum(bool(mended.count(state)) for mended in all_mended)
    mounts = words.counted(count(all_mended, state), "dead mount")
    told = f"{mounts} of {words.counted(containers, 'container')} {'would be ' if dry else ''}repaired"
    rest = [f"{number} {other}" for other in ("left", "failed") if (number := count(all_mended, other))]
    found = [f"{', '.join([told, *rest])}, in {seconds:.2f} s"]
    if known.silent:
        found.append(f"not asked further, since they do not answer: devices {' '.join(known.silent)}")
    if known.hidden:
        hidden = words.counted(known.hidden, "process", "processes")
        found.append(f"mounts that may not be seen: those of {hidden}")
    return found
