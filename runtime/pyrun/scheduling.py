"""Attributes of a process carried out: scheduler, I/O priority, personality, memory policy.

`attributes` says what they are; when each is carried out is `plan`'s.
"""

from __future__ import annotations

from collections.abc import Callable

from lxcfs_py import linux
from lxcfs_py.record import TYPE_CHECKING
from pyrun.attributes import (
    DOMAINS,
    IO_CLASSES,
    MEMORY_FLAGS,
    MEMORY_MODES,
    POLICIES,
    SCHEDULER_FLAGS,
    IoPriority,
    MemoryPolicy,
    Personality,
    Scheduler,
)

if TYPE_CHECKING:
    from typing import Any

_IO_CLASS_SHIFT = 13


def schedule(wanted: Scheduler, pid: int = 0) -> None:
    """sched_setattr(2) of a process, 0 for the calling one."""
    flags = sum(SCHEDULER_FLAGS[flag] for flag in set(wanted.flags))
    linux.sched_setattr(
        pid,
        linux.SchedAttr(
            POLICIES[wanted.policy],
            flags,
            wanted.nice,
            wanted.priority,
            wanted.runtime,
            wanted.deadline,
            wanted.period,
        ),
    )


def set_io_priority(wanted: IoPriority, group: int = 0) -> None:
    """ioprio_set(2) of a process group, 0 for the caller's own."""
    linux.ioprio_set(linux.IOPRIO_WHO_PGRP, group, IO_CLASSES[wanted.io_class] << _IO_CLASS_SHIFT | wanted.priority)


def _set_memory_policy(wanted: MemoryPolicy) -> None:
    flags = sum(MEMORY_FLAGS[flag] for flag in set(wanted.flags))
    linux.set_mempolicy(MEMORY_MODES[wanted.mode] | flags, wanted.nodes)


CARRY_OUT: dict[type, Callable[[Any], None]] = {
    Scheduler: schedule,
    IoPriority: set_io_priority,
    Personality: lambda wanted: linux.personality(DOMAINS[wanted.domain]),
    MemoryPolicy: _set_memory_policy,
}
"""How each kind of attribute is carried out on the calling process; OSError as the kernel has it."""
