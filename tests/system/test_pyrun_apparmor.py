"""A container under a profile of AppArmor's, where the kernel has it: the profile is its command's, and is in force."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import Pyrun, bundle, configure, leftovers, new_id

pytestmark = pytest.mark.system

NAME = "lxt-confined"
PROFILE = f"""
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  signal,
  deny /secret r,
}}
"""
SECURITY = Path("/sys/kernel/security")


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    made = Pyrun(tmp_path / "state")
    yield made
    assert leftovers(made.root) == []


def enabled() -> bool:
    switch = Path("/sys/module/apparmor/parameters/enabled")
    return switch.exists() and switch.read_text().strip() == "Y"


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """The name of a profile that is loaded."""
    if not enabled():
        pytest.skip("no AppArmor in this kernel")
    if shutil.which("apparmor_parser") is None:
        pytest.skip("no apparmor_parser")
    mounted = (SECURITY / "apparmor").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "securityfs", "securityfs", str(SECURITY)], check=True)
    file = tmp_path / "profile"
    file.write_text(PROFILE)
    try:
        subprocess.run(["apparmor_parser", "--skip-cache", "--replace", str(file)], check=True)
        yield NAME
        subprocess.run(["apparmor_parser", "--remove", str(file)], check=True)
    finally:
        if not mounted:
            subprocess.run(["umount", str(SECURITY)], check=True)


@pytest.mark.parametrize("confined", [False, pytest.param(True, marks=pytest.mark.smoke)])
def test_a_profile_is_the_commands_and_in_force(pyrun: Pyrun, tmp_path: Path, profile: str, confined: bool) -> None:
    process = {"apparmorProfile": profile, "noNewPrivileges": confined}
    script = "cat /proc/self/attr/current; cat /secret; cat /open"
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script], process=process)
    for name in ("secret", "open"):
        (directory / "rootfs" / name).write_text(f"{name}\n")
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert done.stdout.splitlines() == [f"{profile} (enforce)", "open"], done
    assert "'/secret': Permission denied" in done.stderr


def test_a_command_more_has_a_profile_of_its_own(pyrun: Pyrun, tmp_path: Path, profile: str) -> None:
    name = new_id()
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"])
    with (tmp_path / "said").open("w") as said:
        command = pyrun.command("create", "--bundle", str(directory), name)
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=True)
    try:
        pyrun.must("start", name)
        look = [name, "cat", "/proc/self/attr/current"]
        assert profile not in pyrun.must("exec", *look)
        assert pyrun.must("exec", "--apparmor", profile, *look) == f"{profile} (enforce)\n"
    finally:
        pyrun.must("delete", "--force", name)


def test_one_that_is_not_there_is_told(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"], process={"apparmorProfile": "lxt-none"})
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert done.returncode == 1
    if not enabled():
        assert done.stderr.startswith("pyrun: process.apparmorProfile: AppArmor is not enabled on this machine\nhint: ")
    else:
        assert done.stderr.startswith("pyrun: cannot be lxt-none to AppArmor from the command on: no such file"), done
        assert "apparmor_parser" in done.stderr
    configure(directory, process={"apparmorProfile": ""})
    assert pyrun.call("run", "--bundle", str(directory), new_id()).returncode == 0
