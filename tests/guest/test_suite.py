"""The project's system tests on kernels with a pure cgroup v2; what they say is shown where one fails.

All of them in User Mode Linux, and those marked `smoke` on Debian's own kernels. They run beside all other tests but
those marked `alone`, which come after them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.guest import beside, kernels, suite
from tests.guest.conftest import Guests

InSummary = Callable[[str], None]

NO_UML = f"no User Mode Linux kernel: make one with python -m tests.guest --build, or name one in ${kernels.VARIABLE}"
JOBS = beside.jobs()
PASSED = re.compile(r"(?m)^tests/\S.* PASSED +\[ *\d+%\]\n")


def job(name: str) -> object:
    missing = JOBS[name].kernel == "uml" and kernels.default(os.environ) != "uml"
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=NO_UML))


@pytest.mark.guest
@pytest.mark.parametrize("name", [job(name) for name in JOBS])
def test_the_system_tests_pass_on_cgroup_v2(name: str, guests: Guests, in_summary: InSummary) -> None:
    status = guests.status(name)
    output = (guests.folder / name / "output").read_text(errors="replace")
    if status:
        pytest.fail(f"in {name}, exit status {status}:\n{PASSED.sub('', output)}", pytrace=False)
    found = ElementTree.parse(guests.folder / name / "junit.xml").getroot().find("testsuite")
    assert found is not None
    assert int(found.attrib["tests"]) > int(found.attrib["skipped"]), output
    in_summary(f"on cgroup v2 in {name}: {output.splitlines()[-1].strip('= ')}")


def test_all_modules_are_in_one_part() -> None:
    parts = [module for each in JOBS.values() if each.kernel == "uml" for module in each.modules]
    assert sorted(parts) == suite.written_out("system")


def test_of_what_a_guest_says_only_that_a_test_passed_is_left_out() -> None:
    said = "tests/a.py::test_x[a b] PASSED   [ 50%]\ntests/a.py::test_y FAILED [100%]\nE  tests/a.py PASSED\n"
    assert PASSED.sub("", said) == "tests/a.py::test_y FAILED [100%]\nE  tests/a.py PASSED\n"


def test_modules_are_chosen_by_the_marks_that_they_write_out() -> None:
    assert set(suite.written_out("smoke")) < set(suite.written_out("system"))
    assert "tests/system/test_caller.py" in suite.written_out("smoke")
    named = suite.pytest_command("tcg-6.1", ["--durations=3", "tests/system/test_truth.py::test_x"])
    assert [word for word in named if word.startswith("tests/")] == ["tests/system/test_truth.py::test_x"]
