"""What `linux.resources` asks for is in force in a container of pyrun, wherever this machine has the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrun import cgroups as pyruns
from pyrun import systemd
from tests import cgroups
from tests.system.pyrun_here import SECONDS, Done, Pyrun, bundle, configure, leftovers, new_id

pytestmark = pytest.mark.system

V2 = cgroups.pure_v2()
M = 1 << 20


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


def run(pyrun: Pyrun, directory: Path, script: str, resources: dict[str, Any], **changes: Any) -> Done:
    """A shell's script in a container with these resources."""
    bundle(pyrun, directory, ["sh", "-c", script], linux={"resources": resources}, **changes)
    return pyrun.call("run", "--bundle", str(directory), new_id())


# Devices ------------------------------------------------------------------------------------------------------------

NODE = {"path": "/dev/node", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}
"""/dev/fuse under another name; not one that every container may use."""
ASK = """
for way in 'exec 3<' 'exec 3>'; do
    (eval "$way /dev/node") 2>/dev/null && echo yes || echo no
done
(exec 3</dev/zero 4>/dev/null 5</dev/urandom) && echo the usual ones
"""


def rule(allow: bool, access: str, **numbers: Any) -> dict[str, Any]:
    return {"allow": allow, "access": access, **numbers}


FUSE = {"type": "c", "major": 10, "minor": 229}


@pytest.mark.parametrize(
    ("rules", "reads", "writes"),
    [
        ([rule(False, "rwm")], "no", "no"),
        ([rule(False, "rwm"), rule(True, "r", **FUSE)], "yes", "no"),
        ([rule(False, "rwm"), rule(True, "rw", **FUSE)], "yes", "yes"),
        ([rule(False, "rwm"), rule(True, "rw", **FUSE), rule(False, "r", **FUSE)], "no", "yes"),
        ([rule(False, "rwm"), rule(True, "w", type="c", major=10)], "no", "yes"),
        ([rule(True, "w", **FUSE)], "no", "yes"),
        ([rule(True, "rwm")], "yes", "yes"),
    ],
    ids=["none", "to read", "both", "one taken back", "a whole major", "the rest is denied unsaid", "privileged"],
)
def test_devices_can_be_used_as_the_rules_have_it(
    pyrun: Pyrun, tmp_path: Path, rules: list[dict[str, Any]], reads: str, writes: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", ASK])
    configure(directory, linux={"devices": [NODE], "resources": {"devices": rules}})
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert (done.stdout.split("\n"), done.stderr) == ([reads, writes, "the usual ones", ""], "")


def test_who_is_in_a_container_cannot_lift_its_rules(pyrun: Pyrun, tmp_path: Path) -> None:
    """Another node of the same device, made inside with CAP_MKNOD, is no way round."""
    directory = tmp_path / "b"
    bundle(pyrun, directory, ["sh", "-c", "mknod /dev/other c 10 229 && cat </dev/other"])
    (directory / "rootfs/bin/mknod").symlink_to("busybox")
    caps = {name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")}
    configure(
        directory,
        process={"capabilities": caps},
        linux={"resources": {"devices": [rule(False, "rwm")]}},
    )
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert "/dev/other: Operation not permitted" in done.stderr


# Huge pages, networks -----------------------------------------------------------------------------------------------


def controllers() -> str:
    """Of v2, hybrid or not."""
    top = cgroups.TOP if V2 else cgroups.TOP / "unified"
    return (top / "cgroup.controllers").read_text() if top.exists() else ""


def test_huge_pages_are_limited_where_the_controller_is(pyrun: Pyrun, tmp_path: Path) -> None:
    """On a hybrid machine on v2, while memory is on v1."""
    if "hugetlb" not in controllers().split():
        pytest.skip("no hugetlb controller on cgroup v2")
    name = new_id()
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * M}], "memory": {"limit": 64 * M}}
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"], linux={"resources": resources})
    pyrun.must("create", "--bundle", str(directory), name)
    top = cgroups.TOP if V2 else cgroups.TOP / "unified"
    assert (top / f"pyrun/{name}/hugetlb.2MB.max").read_text() == f"{4 * M}\n"
    assert (top / f"pyrun/{name}/hugetlb.2MB.rsvd.max").read_text() == f"{4 * M}\n"
    pyrun.must("delete", "--force", name)


def test_huge_pages_are_limited_later(pyrun: Pyrun, tmp_path: Path) -> None:
    """The controller of v2 is enabled for the container only then."""
    if "hugetlb" not in controllers().split():
        pytest.skip("no hugetlb controller on cgroup v2")
    name = new_id()
    pyrun.must("create", "--bundle", str(bundle(pyrun, tmp_path / "b", ["sleep", "600"])), name)
    asked = json.dumps({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 * M}]})
    assert pyrun.call("update", "-r", "-", name, stdin=asked).stderr == ""
    top = cgroups.TOP if V2 else cgroups.TOP / "unified"
    assert (top / f"pyrun/{name}/hugetlb.2MB.max").read_text() == f"{6 * M}\n"
    pyrun.must("delete", "--force", name)


def test_a_page_size_that_the_machine_lacks_is_named(pyrun: Pyrun, tmp_path: Path) -> None:
    if "hugetlb" not in controllers().split():
        pytest.skip("no hugetlb controller on cgroup v2")
    resources = {"hugepageLimits": [{"pageSize": "3MB", "limit": 4 * M}]}
    done = run(pyrun, tmp_path / "b", "true", resources)
    assert "hugetlb.3MB.max: this kernel has no such file" in done.stderr


def test_packets_get_the_class_and_priority_of_the_container(pyrun: Pyrun, tmp_path: Path) -> None:
    """The two controllers of v1 are mounted for this test alone, in its own mount namespace."""
    known = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()}
    if not {"net_cls", "net_prio"} <= known:
        pytest.skip("this kernel has no net_cls and net_prio")
    resources = {"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}}
    name = new_id()
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"], linux={"resources": resources})
    for controller in ("net_cls", "net_prio"):
        (tmp_path / controller).mkdir()
    create, delete = (
        " ".join(pyrun.command(*words))
        for words in (("create", "--bundle", str(directory), name), ("delete", "--force", name))
    )
    script = f"""
    mount -t cgroup -o net_cls none {tmp_path}/net_cls
    mount -t cgroup -o net_prio none {tmp_path}/net_prio
    {create} </dev/null >/dev/null
    cat {tmp_path}/net_cls/pyrun/{name}/net_cls.classid
    grep lo {tmp_path}/net_prio/pyrun/{name}/net_prio.ifpriomap
    {delete}
    """
    command = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("1048577\nlo 5\n", "")


# What is left in them -----------------------------------------------------------------------------------------------

BOMB = "f() { f & f & }; f; f; wait; sleep 600"


def test_a_fork_bomb_is_gone_with_its_container(pyrun: Pyrun, tmp_path: Path) -> None:
    name = new_id()
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", BOMB], linux={"resources": {"pids": {"limit": 150}}})
    spaces = [{"type": kind} for kind in ("mount", "uts", "ipc", "cgroup")]  # no pid namespace to go down with its init
    configure(directory, linux={"namespaces": spaces})
    null = os.open("/dev/null", os.O_RDWR)
    create = pyrun.command("create", "--bundle", str(directory), name)
    assert subprocess.run(create, stdin=null, stdout=null, stderr=null, timeout=SECONDS).returncode == 0
    os.close(null)
    pyrun.must("start", name)
    top = cgroups.TOP if V2 else cgroups.TOP / "pids"
    while int((top / f"pyrun/{name}/pids.current").read_text()) < 140:
        os.sched_yield()
    pyrun.must("delete", "--force", name)


def test_a_fork_bomb_is_ended_without_a_kill_of_all(tmp_path: Path) -> None:
    """v1 cannot kill a cgroup at once: no process may fork while the others are being killed."""
    if V2:
        pytest.skip("this machine has no cgroup v1")
    path = f"/lxt-act-{os.getpid()}-bomb"
    with cgroups.made(path, cgroups.Limits(pids=150)):
        v1 = [f"{top}{path}" for top in cgroups.hierarchies() if top.name != "unified"]
        script = "import os, time\ntime.sleep(0)\nwhile True:\n    try: os.fork()\n    except OSError: pass"
        enter = "".join(f"echo $$ > {directory}/cgroup.procs; " for directory in v1)
        with subprocess.Popen(["sh", "-c", f'{enter}exec "$@"', "sh", sys.executable, "-S", "-c", script]) as bomb:
            while int(Path(f"{cgroups.TOP}/pids{path}/pids.current").read_text()) < 140:
                os.sched_yield()
            pyruns.remove(v1)
            bomb.wait(SECONDS)
        assert not any(Path(directory).exists() for directory in v1)


@pytest.mark.alike
def test_where_no_systemd_runs_it_is_said_and_nothing_left(pyrun: Pyrun, tmp_path: Path) -> None:
    if any(Path(path).exists() for path in (systemd.SYSTEM_BUS, systemd.PRIVATE)):
        pytest.skip("systemd runs here")
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    done = pyrun.call("--systemd-cgroup", "run", "--bundle", str(directory), new_id())
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "pyrun: --systemd-cgroup: systemd does not run here")
