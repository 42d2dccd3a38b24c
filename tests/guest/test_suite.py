"""The project's system tests on kernels with a pure cgroup v2; their output is shown where one fails.

All of them in User Mode Linux, and those marked `smoke` on Debian's own kernels. The latter run side by side, since
each keeps about one CPU busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.guest import kernels, suite

InSummary = Callable[[str], None]

PARTS = 4
"""Of the system tests, each in a guest of its own, so that what one wears out does not fail another."""
NO_UML = f"no User Mode Linux kernel: make one with python -m tests.guest --build, or name one in ${kernels.VARIABLE}"


@dataclass(frozen=True)
class Suite:
    """A guest in which tests run; `folder` gets their output and a report."""

    kernel: str
    folder: Path
    process: subprocess.Popen[bytes]

    def passes(self) -> str:
        """Wait for its end; the last line of the output, where no test failed and some ran."""
        status = self.process.wait()
        output = (self.folder / "output").read_text()
        if status:
            pytest.fail(f"in {self.kernel}, exit status {status}:\n{output}", pytrace=False)
        found = ElementTree.parse(self.folder / "junit.xml").getroot().find("testsuite")
        assert found is not None
        assert int(found.attrib["tests"]) > int(found.attrib["skipped"]), output
        return f"on cgroup v2 in {self.kernel}: {output.splitlines()[-1].strip('= ')}"


def start(kernel: str, folder: Path, *modules: str) -> subprocess.Popen[bytes]:
    """Those tests of some modules that are for a kernel; of all modules where none is named."""
    options = ["--kernel", kernel, "--rw", str(folder), f"--junitxml={folder / 'junit.xml'}", "--color=no"]
    command = [sys.executable, "-m", "tests.guest.suite", *options, *modules]
    with open(folder / "output", "wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


@pytest.fixture(scope="module")
def debians(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Suite]]:
    """The smoke set on each of Debian's kernels, all under way."""
    with ExitStack() as stack:
        suites = {}
        for kernel in kernels.PACKAGED:
            folder = tmp_path_factory.mktemp(kernel)
            process = stack.enter_context(start(kernel, folder))
            stack.callback(process.terminate)
            suites[kernel] = Suite(kernel, folder, process)
        yield suites


@pytest.mark.guest
@pytest.mark.skipif(kernels.default(os.environ) != "uml", reason=NO_UML)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_system_tests_pass_on_cgroup_v2(part: int, tmp_path: Path, in_summary: InSummary) -> None:
    with start("uml", tmp_path, *suite.written_out("system")[part::PARTS]) as process:
        in_summary(Suite("uml", tmp_path, process).passes())


@pytest.mark.guest
@pytest.mark.parametrize("kernel", kernels.PACKAGED)
def test_the_smoke_set_passes_on_debians_kernels(
    kernel: str, debians: Mapping[str, Suite], in_summary: InSummary
) -> None:
    in_summary(debians[kernel].passes())


def test_modules_are_chosen_by_the_marks_that_they_write_out() -> None:
    assert set(suite.written_out("smoke")) < set(suite.written_out("system"))
    assert "tests/system/test_caller.py" in suite.written_out("smoke")
    named = suite.pytest_command("tcg-6.1", ["--durations=3", "tests/system/test_truth.py::test_x"])
    assert [word for word in named if word.startswith("tests/")] == ["tests/system/test_truth.py::test_x"]
