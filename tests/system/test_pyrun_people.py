"""`pyrun launch` with what Docker's users know: volumes, users, privileges, devices, an init."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import Pyrun, leftovers

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


def status_of(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_a_volume_is_the_hosts_directory_and_with_ro_may_not_be_written_to(pyrun: Pyrun, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/given").write_text("hello\n")
    shown = pyrun.shell("cat /data/given; echo back > /data/written", "-v", f"{tmp_path}/data:/data")
    assert (shown, (tmp_path / "data/written").read_text()) == ("hello\n", "back\n")
    done = pyrun.launch("-v", f"{tmp_path}/data:/data:ro", "--", "sh", "-c", "echo x > /data/given")
    assert "read-only" in done.stderr.lower(), done
    assert (tmp_path / "data/given").read_text() == "hello\n"


@pytest.mark.alike
def test_variables_are_given_and_taken_from_the_caller(pyrun: Pyrun) -> None:
    environment = {**os.environ, "LXT_ONE": "from outside"}
    environment.pop("LXT_NONE", None)
    asked = Pyrun(pyrun.root, environment)
    options = ("-e", "LXT_ONE", "-e", "LXT_TWO=2=2", "-e", "LXT_NONE", "-e", "PATH=/usr/bin:/bin")
    shown = asked.shell("echo $LXT_ONE,$LXT_TWO,${LXT_NONE-unset},$PATH", *options)
    assert shown == "from outside,2=2,unset,/usr/bin:/bin\n"


@pytest.mark.alike
def test_the_working_directory_user_and_name_are_those_asked_for(pyrun: Pyrun) -> None:
    shown = pyrun.shell("pwd; id; uname -n; echo $HOME", "-w", "/usr", "-u", "nobody", "--hostname", "lxt-web")
    where, who, name, home = shown.splitlines()
    assert (where, name, home) == ("/usr", "lxt-web", "/nonexistent")
    assert who.startswith("uid=65534(nobody) gid=65534(nogroup)"), who


@pytest.mark.alike
def test_groups_are_the_containers_own(pyrun: Pyrun) -> None:
    assert pyrun.shell("id -u; id -G", "-u", "1234:4321").split() == ["1234", "4321"]


@pytest.mark.alike
def test_a_links_target_in_a_rootfs_is_never_the_hosts(pyrun: Pyrun, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("lxt:x:77:77::/:/bin/sh\n")
    (tmp_path / "rootfs/etc").mkdir(parents=True)
    (tmp_path / "rootfs/etc/passwd").symlink_to(f"../..{tmp_path}/host")
    done = pyrun.launch("--rootfs", str(tmp_path / "rootfs"), "-u", "lxt", "--", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        125,
        'pyrun: launch: -u: no user "lxt" in the container\'s /etc/passwd',
    )


def test_a_read_only_root_is_not_written_to(pyrun: Pyrun) -> None:
    done = pyrun.launch("--read-only", "--", "sh", "-c", "echo x > /etc/lxt-act-x; echo x > /dev/shm/x && echo shm")
    assert "read-only" in done.stderr.lower(), done
    assert done.stdout == "shm\n"


def test_capabilities_are_added_and_dropped(pyrun: Pyrun) -> None:
    shown = status_of(pyrun.shell("cat /proc/$$/status", "--cap-drop", "ALL", "--cap-add", "net_raw"))
    assert [int(shown[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [1 << 13] * 3 + [0]


def test_who_is_not_root_has_the_capabilities_that_were_added(pyrun: Pyrun) -> None:
    shown = status_of(pyrun.shell("cat /proc/$$/status", "--cap-add", "NET_BIND_SERVICE", "-u", "1000"))
    assert [int(shown[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [1 << 10] * 3
    assert status_of(pyrun.shell("cat /proc/$$/status", "-u", "1000"))["CapEff"] == "0" * 16


@pytest.mark.alike
def test_new_privileges_are_allowed_where_that_is_asked_for(pyrun: Pyrun) -> None:
    shown = pyrun.shell("cat /proc/$$/status", "--security-opt", "no-new-privileges=false")
    assert status_of(shown)["NoNewPrivs"] == "0"


def test_paths_of_the_kernels_are_shown_where_that_is_asked_for(pyrun: Pyrun) -> None:
    mounts = "cut -d' ' -f5 /proc/self/mountinfo"
    assert "/proc/keys" in pyrun.shell(mounts).split()
    seen = pyrun.shell(mounts, "--security-opt", "systempaths=unconfined").split()
    assert [path for path in seen if path.startswith("/proc/")] == []


def test_a_profile_of_dockers_filters_system_calls(pyrun: Pyrun, tmp_path: Path) -> None:
    denied = {"action": "SCMP_ACT_ERRNO", "names": ["chmod", "fchmodat", "fchmodat2"]}
    rules = [
        {**denied, "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {**denied, "names": ["mkdir", "mkdirat"], "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    ]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": rules}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    script = "chmod 700 /tmp && echo chmod; mkdir /tmp/lxt-act-x || echo no mkdir"
    done = pyrun.launch("--security-opt", f"seccomp={tmp_path}/profile.json", "--", "sh", "-c", script)
    assert (done.stdout, done.returncode) == ("chmod\nno mkdir\n", 0), done


def test_a_device_of_the_hosts_is_there_and_may_be_opened(pyrun: Pyrun) -> None:
    number = os.stat("/dev/full").st_rdev
    assert pyrun.shell("test -e /dev/mem && echo there || echo none") == "none\n"
    shown = pyrun.shell("stat -c '%F %t:%T' /dev/lxt; head -c 2 /dev/lxt | wc -c", "--device", "/dev/full:/dev/lxt")
    assert shown == f"character special file {os.major(number):x}:{os.minor(number):x}\n2\n"


def test_what_a_device_is_not_allowed_for_is_denied(pyrun: Pyrun, tmp_path: Path) -> None:
    node = tmp_path / "loop"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 237))  # loop-control: none of those that every container has
    done = pyrun.launch("--device", f"{node}:/dev/lxt:w", "--", "sh", "-c", "exec 3< /dev/lxt")
    assert done.returncode != 0
    assert "not permitted" in done.stderr, done


def test_an_init_runs_the_command_and_buries_the_orphans(pyrun: Pyrun) -> None:
    script = (
        "cat /proc/1/comm; (sleep 0.01 & exec true); sh -c '(exit 3) & exec sleep 0.1' & wait; "
        'until [ -z "$(ps -eo stat= | grep Z)" ]; do sleep 0.01; done; exit 5'
    )
    done = pyrun.launch("--init", "--", "sh", "-c", script)
    assert done.returncode == 5, done
    assert done.stdout.strip() in ("catatonit", "docker-init", "tini-static", "tini", "init"), done


@pytest.mark.alike
def test_a_dry_run_tells_all_of_it(pyrun: Pyrun, tmp_path: Path) -> None:
    how = ("-u", "5:6", "-w", "/data", "--cap-drop", "ALL", "--read-only", "--init")
    shown = pyrun.must("launch", "--dry-run", "-v", f"{tmp_path}:/data:ro", *how, "--", "true").splitlines()
    for line in (
        f"bind with all below it {tmp_path} at /data (rro,rprivate)",
        "become user 5:6 umask 0022",
        "go to /data",
        "bound capabilities to none",
        "remount / read-only",
        "execute /dev/init -- true",
    ):
        assert line in shown
