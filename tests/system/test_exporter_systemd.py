"""The exporter as deploy/systemd has it, under a real systemd: its socket starts it; shut in it tells everything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.launched import BIN
from tests.system.managed import BOX, SYSTEMD, Manager, await_active, booted, write_targets

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not cgroups.pure_v2(), reason="this machine has no cgroup v2 that a systemd could have"),
    pytest.mark.skipif(not Path(SYSTEMD).exists(), reason="systemd is not installed"),
]

DEPLOY = Path(__file__).parents[2] / "deploy/systemd"
SERVICE, SOCKET = "lxcfs-exporter.service", "lxcfs-exporter.socket"
LISTENS = "/run/lxt-exporter.sock"
SECONDS = 120.0


def write_units(units: Path, said: Path) -> None:
    """The units as they are deployed, but for the program's path and where the socket listens."""
    write_targets(units)
    (units / "network.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "lxt.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={SOCKET} {BOX}\n")
    (units / BOX).write_text("[Unit]\nDefaultDependencies=no\n[Slice]\nMemoryMax=512M\n")
    # By a shell, since systemd itself does not execute what only a capability makes it find, as below /root.
    program = f"/bin/sh -c 'exec {BIN}/lxcfs-exporter $ARGS'"
    changes = {
        SERVICE: f"[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\nWorkingDirectory={os.getcwd()}\n"
        f"BindReadOnlyPaths={os.getcwd()}\n"  # it may lie below /tmp, of which a dynamic user has one of its own
        f"StandardError=append:{said}\n"
        f"Environment='ARGS=--web.systemd-socket --cgroup.include /{BOX}'\n"
        f"ExecStart={program}\n",
        SOCKET: f"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=\nListenStream={LISTENS}\n",
    }
    for name, change in changes.items():
        (units / name).write_text((DEPLOY / name).read_text())
        (units / f"{name}.d").mkdir()
        (units / f"{name}.d/test.conf").write_text(change)


@contextmanager
def managed(directory: Path) -> Iterator[Manager]:
    units, log = directory / "units", directory / "systemd.log"
    write_units(units, said=directory / "said")
    with booted(units, log) as pid:
        found = Manager(pid, log)
        await_active(found, SOCKET, log)
        try:
            yield found
        finally:
            print(
                found.systemctl("show", "-p", "Result", "-p", "ExecMainStatus", "-p", "ExecMainCode", SERVICE, SOCKET)
            )
            print(*(file.read_text() for file in (directory / "said", log) if file.exists()))


def get(manager: Manager, path: str) -> str:
    """What the exporter answers at the socket, in the manager's file tree."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(f"/proc/{manager.pid}/root{LISTENS}")
        client.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := client.recv(65536):
            said += piece
    return said.decode()


def test_the_first_scrape_starts_it_and_in_its_sandbox_nothing_is_missing(tmp_path: Path) -> None:
    with managed(tmp_path) as manager:
        assert manager.systemctl("show", "-P", "ActiveState", SERVICE) == "inactive\n"
        metrics = get(manager, "/metrics")
        assert "HTTP/1.1 200 OK" in metrics
        assert f'container_memory_usage_bytes{{id="/{BOX}"' in metrics
        lines = metrics.splitlines()
        assert [line for line in lines if line.startswith("lxcfs_exporter_errors_total{")] == []
        succeeded = {line.split()[-1] for line in lines if line.startswith("lxcfs_exporter_collector_success{")}
        assert succeeded == {"1.0"}
        await_active(manager, SERVICE, manager.log)  # it said READY=1

        pid = manager.systemctl("show", "-P", "MainPID", SERVICE).strip()
        status = dict(
            line.split(":\t", 1) for line in manager.output("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
        )
        read_search, ptrace, syslog = 1 << 2, 1 << 19, 1 << 34
        assert {name: status[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")} == {
            "CapEff": f"{read_search | ptrace | syslog:016x}",
            "CapBnd": f"{read_search | ptrace | syslog:016x}",
            "NoNewPrivs": "1",
            "Seccomp": "2",
        }
        assert "/dev/kmsg" in manager.output("ls", "-l", f"/proc/{pid}/fd")
        assert status["Uid"].split()[0] != "0"
        assert manager.output("nsenter", "-t", pid, "-m", "cat", "/etc/shadow") == ""


def test_a_restart_keeps_the_socket(tmp_path: Path) -> None:
    with managed(tmp_path) as manager:
        assert "ready" in get(manager, "/-/ready")
        before = manager.systemctl("show", "-P", "MainPID", SERVICE)
        manager.systemctl("restart", SERVICE)
        assert "ready" in get(manager, "/-/ready")
        deadline = time.monotonic() + SECONDS
        while (now := manager.systemctl("show", "-P", "MainPID", SERVICE)) in (before, "0\n"):
            assert time.monotonic() < deadline, now
            time.sleep(0.1)
