"""The kernel's log: which cgroup a killed process was in, whatever containers call their cgroups."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter.kernellog import parse

HEAD = "4,4711,30263829056,-;oom-kill:constraint="
TAIL = ",task=python,pid=12,uid=0\n"
MEMCG = f"{HEAD}CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,mems_allowed=0,oom_memcg="
GLOBAL = f"{HEAD}CONSTRAINT_NONE,nodemask=(null),cpuset=a,mems_allowed=0,global_oom,task_memcg="

ODD = "/lxc/a,task=,task=x,pid=1"

TOLD = [
    (f"{MEMCG}/lxc/a,task_memcg=/lxc/a{TAIL}", "/lxc/a"),
    (f"{MEMCG}/pod,task_memcg=/pod/a/b{TAIL} SUBSYSTEM=memory\n", "/pod/a/b"),
    (f"{MEMCG}/,task_memcg=/lxc/a{TAIL}", "/lxc/a"),
    (f"{GLOBAL}/lxc/a{TAIL}", "/lxc/a"),
    (f"{MEMCG}/lxc/a\\x0ab,task_memcg=/lxc/a\\x0ab{TAIL}", "/lxc/a\nb"),
    (f"{MEMCG}/lxc/a\\xff,task_memcg=/lxc/a\\xff{TAIL}", os.fsdecode(b"/lxc/a\xff")),
    # what a container may call its cgroups and tasks
    (f"{MEMCG}/lxc/a/x,task_memcg=/lxc/b,task_memcg=/lxc/a/x,task_memcg=/lxc/b{TAIL}", "/lxc/a/x,task_memcg=/lxc/b"),
    (f"{MEMCG}{ODD},task_memcg={ODD}{TAIL}", ODD),
    (f"{MEMCG.replace('cpuset=a', 'cpuset=x,global_oom,task_memcg=')}/a,task_memcg=/a{TAIL}", "/a"),
    (f"{MEMCG.replace('cpuset=a', 'cpuset=x,oom_memcg=')}/a,task_memcg=/a{TAIL}", "/a"),
    (f"{MEMCG}/lxc/a,task_memcg=/lxc/a,task=,task=b,pid=1,pid=1,uid=0\n", "/lxc/a"),
    (f"{GLOBAL.replace('cpuset=a', 'cpuset=global_oom,task_memcg=')}/a{TAIL}", "/a"),
]
NOT_TOLD = [
    "",
    "4",
    f"{MEMCG}/lxc/a,task_memcg=/lxc/b{TAIL}",
    f"{MEMCG}/lxc/a,task_memcg=/lxc/ab{TAIL}",
    f"12{TOLD[0][0][1:]}",
    f"x{TOLD[0][0][1:]}",
    TOLD[0][0].replace("oom-kill:", "Oom-kill:"),
    TOLD[0][0].replace(";", ";user says oom-kill:x "),
    "6,1,2,-;Memory cgroup out of memory: Killed process 1 (a)\n",
]


@pytest.mark.parametrize(("record", "path"), TOLD)
def test_the_victims_cgroup_is_told(record: str, path: str) -> None:
    assert parse(record.encode()) == path


@pytest.mark.parametrize("record", NOT_TOLD)
def test_what_is_no_kill_or_not_the_kernels_word_is_passed_over(record: str) -> None:
    assert parse(record.encode()) is None


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: MEMCG.encode() + tail))
def test_no_record_is_an_error(record: bytes) -> None:
    parse(record)


NAMES = st.lists(st.sampled_from(["a", "/", ",", "task_memcg=/", ",task=", "pid=1", ",oom_memcg=", "uid=0"])).map(
    "".join
)


@given(NAMES, NAMES, st.sampled_from([MEMCG, GLOBAL]))
def test_a_container_cannot_hide_a_kill_or_have_it_told_of_another(below: str, task: str, kind: str) -> None:
    path = f"/lxc/a/{below}"
    where = f"{path},task_memcg={path}" if kind is MEMCG else path
    found = parse(f"{kind}{where},task={task[:15]},pid=1,uid=0\n".encode())
    assert found is not None
    assert found == "/lxc/a" or found.startswith("/lxc/a/")
