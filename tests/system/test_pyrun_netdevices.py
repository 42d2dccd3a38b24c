"""Network devices that a configuration gives a container: they are there with all that they had, and nowhere else.

pyrun is called in a network namespace of the test's own, which ends with the call.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.pyrun_here import SECONDS, Done, Pyrun, bundle, leftovers, new_id

pytestmark = pytest.mark.system

DEVICES = """
ip link add lxt0 type veth peer name lxt1
ip link set lxt0 address 02:00:00:00:00:07 mtu 1400 up
ip link set lxt1 up
ip address add 10.9.8.7/24 broadcast + dev lxt0
ip address add 10.9.8.9/32 scope link dev lxt0
ip address add fd00:9::7/64 nodad dev lxt0
"""
"""A device that is up, and its other end."""


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    made = Pyrun(tmp_path / "state")
    yield made
    assert leftovers(made.root) == []


def run(pyrun: Pyrun, directory: Path, args: list[str], devices: dict[str, Any], after: str = "") -> Done:
    made = bundle(pyrun, directory, args, linux={"netDevices": devices})
    command = pyrun.command("run", "--bundle", str(made), new_id())
    script = f'{DEVICES}\nstatus=0\n"$@" || status=$?\n{after}\nexit $status'
    return subprocess.run(
        ["unshare", "--net", "sh", "-ec", script, "sh", *command], capture_output=True, text=True, timeout=SECONDS
    )


@pytest.mark.alike
def test_a_device_is_moved_with_its_addresses(pyrun: Pyrun, tmp_path: Path) -> None:
    look = "busybox ip -o link show data; busybox ip -o addr show dev data; sleep 0; ls /sys/class/net"
    done = run(pyrun, tmp_path / "b", ["sh", "-c", look], {"lxt0": {"name": "data"}, "lxt1": {}}, "ip -o link")
    link, *rest = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), done
    assert ("mtu 1400" in link, "02:00:00:00:00:07" in link, ",UP" in link) == (True, True, True), link
    inside, outside = rest[:-1], rest[-1]
    addresses = [line.split()[3] for line in inside if " inet" in line and "fe80" not in line]
    assert addresses == ["10.9.8.7/24", "fd00:9::7/64"], inside
    assert "brd 10.9.8.255" in inside[0]
    assert [line for line in inside if " inet" not in line] == ["data", "lo", "lxt1"]
    assert ": lo:" in outside, outside


@pytest.mark.alike
@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"lxt9": {}}, 'linux.netDevices["lxt9"]: no such network device'),
        ({"lxt0": {"name": "lo"}}, 'linux.netDevices["lxt0"]: the container has a device lo already'),
    ],
)
def test_one_that_cannot_be_moved_is_named(pyrun: Pyrun, tmp_path: Path, devices: dict[str, Any], said: str) -> None:
    done = run(pyrun, tmp_path / "b", ["true"], devices, "ip -o link show lxt0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"pyrun: {said}"), done.stderr
    assert "10.9.8.7" not in done.stdout
    assert ": lxt0@lxt1:" in done.stdout
