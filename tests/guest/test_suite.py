"""The project's system tests on a pure cgroup v2 kernel; their output is shown where one fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest


@pytest.mark.guest
def test_the_system_tests_pass_on_cgroup_v2(tmp_path: Path, in_summary: Callable[[str], None]) -> None:
    report = tmp_path / "junit.xml"
    done = subprocess.run(
        [sys.executable, "-m", "tests.guest.suite", "--rw", str(tmp_path), f"--junitxml={report}", "--color=no"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"in the guest, exit status {done.returncode}:\n{done.stdout}", pytrace=False)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    ran = int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
    assert ran > 0, done.stdout
    in_summary(f"in the cgroup v2 guest: {done.stdout.splitlines()[-1].strip('= ')}")
