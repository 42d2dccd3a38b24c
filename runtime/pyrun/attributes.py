"""What config.json asks of the kernel for a process beside limits and credentials: JSON -> values that are steps too.

Follows runtime-spec config.md ("Linux Process": scheduler, ioPriority, execCPUAffinity) and config-linux.md
(personality, memoryPolicy); sched_setattr(2), ioprio_set(2), personality(2), set_mempolicy(2). Each attribute is one
record, one function that reads it and one row of a table; `scheduling.py` carries them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import ParseError, SpecError
from lxcfs_py.record import NamedTuple
from pyrun.fields import Fields, unsupported

_UINT64 = 2**64 - 1

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
_REAL_TIME = ("SCHED_FIFO", "SCHED_RR")

SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
}
_CLAMPS = ("SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX")
"""Say that a utilization is given beside them, for which config.json has no field."""

IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}

MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
_WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_WITH_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE")

MODULES = {"apparmor": "AppArmor", "selinux": "SELinux"}
"""What people call them."""

MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}


class Scheduler(NamedTuple):
    """sched_setattr(2); times in nanoseconds, 0 but for SCHED_DEADLINE."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0

    def describe(self) -> str:
        given = zip(self._fields[1:], self[1:], strict=True)
        words = [f"{name} {','.join(value) if isinstance(value, tuple) else value}" for name, value in given if value]
        return " ".join([f"schedule as {self.policy}", *words])


class IoPriority(NamedTuple):
    """ioprio_set(2) of the process group."""

    io_class: str
    priority: int
    """0 is the highest, 7 the lowest."""

    def describe(self) -> str:
        return f"set the I/O priority to {self.io_class} {self.priority}"


class Personality(NamedTuple):
    """personality(2)."""

    domain: str

    def describe(self) -> str:
        return f"take the personality {self.domain}"


class MemoryPolicy(NamedTuple):
    """set_mempolicy(2)."""

    mode: str
    nodes: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()

    def describe(self) -> str:
        nodes = f" of nodes {parse.format_cpu_list(self.nodes)}" if self.nodes else ""
        return f"take memory by {'|'.join((self.mode, *self.flags))}{nodes}"


class Label(NamedTuple):
    """What a security module shall take the process for from its execve on: a profile of AppArmor's, a label of
    SELinux's."""

    module: str
    """apparmor or selinux."""
    text: str

    def describe(self) -> str:
        return f"be {self.text} to {MODULES[self.module]} from the command on"


Attribute = Scheduler | IoPriority | Personality | MemoryPolicy | Label


class CpuAffinity(NamedTuple):
    """Where a process runs that is executed in a container that is there already; empty is "leave alone"."""

    initial: tuple[int, ...] = ()
    """CPUs to be on before it goes to the container's cgroup."""
    final: tuple[int, ...] = ()
    """CPUs to be on in it."""


def _scheduler(fields: Fields) -> Scheduler:
    made = Scheduler(
        policy=fields.choice("policy", POLICIES),
        nice=fields.number("nice", -20, 19) or 0,
        priority=fields.number("priority", 0, 99) or 0,
        flags=_flags(fields, SCHEDULER_FLAGS, _CLAMPS),
        runtime=fields.number("runtime", 0, _UINT64) or 0,
        deadline=fields.number("deadline", 0, _UINT64) or 0,
        period=fields.number("period", 0, _UINT64) or 0,
    )
    if bool(made.priority) != (made.policy in _REAL_TIME):
        raise SpecError(
            fields.at("priority"), f"must be {'from 1 to 99' if not made.priority else '0'} for {made.policy}"
        )
    for name in ("runtime", "deadline", "period"):
        if getattr(made, name) and made.policy != "SCHED_DEADLINE":
            raise SpecError(fields.at(name), f"is for SCHED_DEADLINE, not for {made.policy}")
    return made


def _io_priority(fields: Fields) -> IoPriority:
    return IoPriority(fields.choice("class", IO_CLASSES), fields.need("priority", 0, 7))


def _personality(fields: Fields) -> Personality:
    for index, flag in enumerate(fields.texts("flags")):
        raise unsupported(f"{fields.at('flags')}[{index}]", f"the personality flag {flag}")
    return Personality(fields.choice("domain", DOMAINS))


def _memory_policy(fields: Fields) -> MemoryPolicy:
    made = MemoryPolicy(fields.choice("mode", MEMORY_MODES), _numbers(fields, "nodes"), _flags(fields, MEMORY_FLAGS))
    if made.nodes and made.mode in _WITHOUT_NODES:
        raise SpecError(fields.at("nodes"), f"means nothing for {made.mode}")
    if not made.nodes and made.mode in _WITH_NODES:
        raise SpecError(fields.at("nodes"), f"is missing, {made.mode} needs them")
    return made


def cpu_affinity(fields: Fields) -> CpuAffinity:
    """`execCPUAffinity`."""
    return CpuAffinity(_numbers(fields, "initial"), _numbers(fields, "final"))


def _flags(fields: Fields, known: Mapping[str, int], unusable: tuple[str, ...] = ()) -> tuple[str, ...]:
    for index, flag in enumerate(found := fields.texts("flags")):
        if flag in unusable:
            raise unsupported(f"{fields.at('flags')}[{index}]", flag)
        if flag not in known:
            raise SpecError(f"{fields.at('flags')}[{index}]", f'"{flag}" is none of {", ".join(known)}')
    return found


def _numbers(fields: Fields, name: str) -> tuple[int, ...]:
    """A list as the kernel prints it, `0-3,7`; empty where it is left out."""
    text = fields.text(name) or ""
    try:
        return parse.cpu_list(text)
    except ParseError:
        raise SpecError(fields.at(name), f'is not a list of numbers as 0-3,7: "{text}"') from None


LABELS = {"apparmorProfile": "apparmor", "selinuxLabel": "selinux"}
"""Fields of `process` that are labels, and whose."""


def labels(fields: Fields) -> tuple[Label, ...]:
    return tuple(Label(module, text) for name, module in LABELS.items() if (text := fields.text(name)))


_Rows = Mapping[str, Callable[[Fields], Attribute]]

OF_PROCESS: _Rows = {"scheduler": _scheduler, "ioPriority": _io_priority}
"""Fields of `process`, in the order in which they are carried out."""

OF_LINUX: _Rows = {"personality": _personality, "memoryPolicy": _memory_policy}
"""Fields of `linux`, in the same sense."""


def read(fields: Fields, rows: _Rows) -> tuple[Attribute, ...]:
    """Those of the table's attributes that an object has; SpecError or Unsupported."""
    return tuple(make(fields.child(name)) for name, make in rows.items() if fields.has(name))
