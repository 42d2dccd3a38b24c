"""Scheduler, I/O priority, personality, memory policy and CPU affinity: read, checked and told."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import SpecError, Unsupported
from pyrun import attributes, plan, planning, scheduling
from pyrun.attributes import CpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler
from pyrun.planning import Facts
from tests.runtime.configs import load, load_at

READ = [
    ("process.scheduler", {"policy": "SCHED_OTHER"}, Scheduler("SCHED_OTHER"), "schedule as SCHED_OTHER"),
    (
        "process.scheduler",
        {"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        Scheduler("SCHED_FIFO", priority=5, flags=("SCHED_FLAG_RESET_ON_FORK",)),
        "schedule as SCHED_FIFO priority 5 flags SCHED_FLAG_RESET_ON_FORK",
    ),
    (
        "process.scheduler",
        {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3},
        Scheduler("SCHED_DEADLINE", runtime=1, deadline=2, period=3),
        "schedule as SCHED_DEADLINE runtime 1 deadline 2 period 3",
    ),
    (
        "process.ioPriority",
        {"class": "IOPRIO_CLASS_BE", "priority": 7},
        IoPriority("IOPRIO_CLASS_BE", 7),
        "set the I/O priority to IOPRIO_CLASS_BE 7",
    ),
    ("linux.personality", {"domain": "LINUX32"}, Personality("LINUX32"), "take the personality LINUX32"),
    (
        "linux.memoryPolicy",
        {"mode": "MPOL_BIND", "nodes": "0-1,3", "flags": ["MPOL_F_STATIC_NODES"]},
        MemoryPolicy("MPOL_BIND", (0, 1, 3), ("MPOL_F_STATIC_NODES",)),
        "take memory by MPOL_BIND|MPOL_F_STATIC_NODES of nodes 0-1,3",
    ),
    ("linux.memoryPolicy", {"mode": "MPOL_LOCAL"}, MemoryPolicy("MPOL_LOCAL"), "take memory by MPOL_LOCAL"),
]


@pytest.mark.parametrize(("path", "value", "made", "told"), READ)
def test_an_attribute_is_read_and_is_a_step(path: str, value: Any, made: attributes.Attribute, told: str) -> None:
    steps = planning.make(load_at(path, value), "c1", "/bundle", Facts({})).steps
    kinds = [type(step) for step in steps]
    assert made in steps
    assert made.describe() == told
    assert kinds.index(plan.Pivot) < steps.index(made) < kinds.index(plan.BoundCapabilities)


def test_every_attribute_can_be_carried_out() -> None:
    assert {type(made) for _, _, made, _ in READ} == set(scheduling.CARRY_OUT)
    assert len(attributes.OF_PROCESS | attributes.OF_LINUX) == len(scheduling.CARRY_OUT)


def test_the_affinity_of_further_processes_is_nothing_for_the_first() -> None:
    spec = load_at("process.execCPUAffinity", {"initial": "0-2,5", "final": ""})
    assert spec.process.exec_cpu_affinity == CpuAffinity((0, 1, 2, 5), ())
    assert planning.make(spec, "c1", "/b", Facts({})) == planning.make(load(), "c1", "/b", Facts({}))


FAULTS = [
    ("process.scheduler", {}, "process.scheduler.policy: is missing"),
    ("process.scheduler", {"policy": "FIFO"}, 'process.scheduler.policy: "FIFO" is none of SCHED_OTHER, SCHED_FIFO'),
    ("process.scheduler", {"policy": "SCHED_BATCH", "nice": 20}, "process.scheduler.nice: must be from -20 to 19"),
    ("process.scheduler", {"policy": "SCHED_RR"}, "process.scheduler.priority: must be from 1 to 99 for SCHED_RR"),
    ("process.scheduler", {"policy": "SCHED_IDLE", "priority": 1}, "process.scheduler.priority: must be 0 for SCHED"),
    ("process.scheduler", {"policy": "SCHED_OTHER", "period": 1}, "process.scheduler.period: is for SCHED_DEADLINE"),
    (
        "process.scheduler",
        {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_KEEP_POLICY", "RESET"]},
        'process.scheduler.flags[1]: "RESET" is none of SCHED_FLAG_RESET_ON_FORK',
    ),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_RT"}, "process.ioPriority.priority: is missing"),
    ("process.ioPriority", {"class": "idle", "priority": 1}, 'process.ioPriority.class: "idle" is none of IOPRIO'),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_RT", "priority": 8}, "process.ioPriority.priority: must be from"),
    ("process.execCPUAffinity", {"initial": "0-"}, "process.execCPUAffinity.initial: is not a list of numbers"),
    ("process.execCPUAffinity", {"final": "99999999"}, "process.execCPUAffinity.final: is not a list of numbers"),
    ("linux.personality", {"domain": "BSD"}, 'linux.personality.domain: "BSD" is none of LINUX, LINUX32'),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes: is missing, MPOL_BIND needs them"),
    ("linux.memoryPolicy", {"mode": "MPOL_LOCAL", "nodes": "0"}, "linux.memoryPolicy.nodes: means nothing for MPOL"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "x"}, "linux.memoryPolicy.nodes: is not a list of numbers"),
    ("linux.memoryPolicy", {"mode": "MPOL_LOCAL", "flags": ["x"]}, 'linux.memoryPolicy.flags[0]: "x" is none of MPOL'),
]


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_named_by_its_path(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_at(path, value)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("process.scheduler", {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}),
        ("linux.personality", {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_path(path: str, value: object) -> None:
    with pytest.raises(Unsupported) as caught:
        load_at(path, value)
    assert caught.value.message.startswith(f"{path}.flags[0]: ")


@pytest.mark.parametrize("wish", [True, False])
def test_a_session_keyring_of_its_own_is_the_first_step_unless_the_caller_wishes_none(wish: bool) -> None:
    wishes = planning.Wishes(no_new_keyring=wish)
    first = planning.make(load(), "c1", "/b", Facts({}), wishes).steps[0]
    assert (first == plan.JoinKeyring("_ses.c1")) is not wish
