"""The containers of the machine as text for people and as JSON for programs.

JSON: a list of objects, by cgroup path. Sizes in bytes, times in microseconds; null is no limit, or not known.

    {"pid": 4242, "command": "python3", "cgroup": "/a/b", "level": 1, "users": {"root": 100000},
     "cpus": {"shown": [0, 1], "count": 2, "set": [0, 1, 2, 3], "quota": 150000, "period": 100000, "used": 77},
     "memory": {"limit": 67108864, "usage": 1234}, "swap": {"limit": null, "usage": 0},
     "uptime": 1000000, "tasks": 1,
     "policy": {"cpus": "quota", "swap": true, "zswap": true, "loadavg": true, "uptime": "container"},
     "chosen_by": {"cpus": "[[container]] \"/a/*\""}}

`level` is how many pid namespaces lie between ours and the container's: 0 is a limited cgroup in ours, 2 a container in
a container. `users` is null where it has no user namespace; `root` is our number of its root, null if that is nobody
here. `memory` and `swap` are null where no controller accounts them apart. `chosen_by` says who made each choice of the
policy that is not built in: "annotation", "[[container]] PATTERN", "flag" or "[default]".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lxcfs_py import words
from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Memory, Swap
from lxcfs_py.explain.census import Member, Users

HEAD = ("PID", "COMMAND", "LEVEL", "CPUS", "QUOTA", "MEMORY", "SWAP", "UPTIME", "TASKS", "USERNS")
_RIGHT = "r rrrrrrrr"
_LONGEST = 15
"""Bytes of a command name; what is longer has been escaped."""


def document(members: Sequence[Member]) -> list[dict[str, Any]]:
    """What `--json` prints."""
    return [_object(member) for member in members]


def _object(member: Member) -> dict[str, Any]:
    container, snapshot, cpu = member.container, member.snapshot, member.snapshot.cpu
    quota = cpu.quota if cpu is not None else None
    return {
        "pid": member.pid,
        "command": member.command,
        "cgroup": words.escaped(container.cgroup.path),
        "level": container.level,
        "users": None if member.users is None else {"root": member.users.root},
        "cpus": {
            "shown": member.shown,
            "count": len(member.shown),
            "set": cpu.cpus if cpu is not None else None,
            "quota": quota.quota if quota is not None else None,
            "period": quota.period if quota is not None else None,
            "used": cpu.usage if cpu is not None else None,
        },
        "memory": _amounts(snapshot.memory),
        "swap": _amounts(snapshot.swap),
        "uptime": member.age,
        "tasks": member.tasks,
        "policy": asdict(container.policy),
        "chosen_by": member.chosen_by,
    }


def _amounts(part: Memory | Swap | None) -> dict[str, int | None] | None:
    return None if part is None else {"limit": part.limit, "usage": part.usage}


def lines(members: Sequence[Member], width: int) -> list[str]:
    """The table for people; where a row would not fit the width, cgroup and policy are on a second line."""
    if not members:
        return []
    rows = words.table([HEAD, *map(_row, members)], _RIGHT)
    ends = ["CGROUP", *map(_end, members)]
    if max(len(row) + 2 + len(end) for row, end in zip(rows, ends, strict=True)) <= width:
        longest = max(map(len, rows))
        return [f"{row:<{longest}}  {end}" for row, end in zip(rows, ends, strict=True)]
    return [line for row, end in zip(rows, ends, strict=True) for line in (row, f"    {end}")]


def remark(members: Sequence[Member], *, root: bool) -> str:
    """What the list does not say by itself; "" where there is nothing to remark."""
    if not root:
        return "only root sees the containers of others"
    return "" if members else "no container, and no limited cgroup with a process in it"


def _row(member: Member) -> tuple[str, ...]:
    cpu = member.snapshot.cpu
    quota = cpu.quota if cpu is not None else None
    command = words.escaped(member.command)
    return (
        str(member.pid),
        command if len(command) <= _LONGEST else f"{command[: _LONGEST - 1]}…",
        str(member.container.level),
        f"{len(member.shown)}: {parse.format_cpu_list(member.shown)}",
        "-" if quota is None else f"{quota.ratio():.2f}",
        _share(member.snapshot.memory),
        _share(member.snapshot.swap),
        words.duration(member.age),
        "-" if member.tasks is None else str(member.tasks),
        "-" if member.users is None else _root(member.users),
    )


def _root(users: Users) -> str:
    return "nobody" if users.root is None else f"uid {users.root}"


def _share(part: Memory | Swap | None) -> str:
    if part is None:
        return "-"
    return words.size(part.usage) if part.limit is None else f"{words.size(part.usage)} / {words.size(part.limit)}"


def _end(member: Member) -> str:
    path = words.escaped(member.container.cgroup.path)
    chosen = [
        f"{name}={str(value).lower()} by {words.escaped(member.chosen_by[name])}"
        for name, value in asdict(member.container.policy).items()
        if name in member.chosen_by
    ]
    return f"{path} ({', '.join(chosen)})" if chosen else path
