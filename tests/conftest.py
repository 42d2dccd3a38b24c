"""What all tests share: fixtures, golden files, the guard against leftovers, and when a skip is a failure.

A skip names what is missing. Where the environment has CI=true, a skip fails unless tests/skips.txt names it (in the
guest: tests/skips-guest.txt): a check that quietly does not run is not a check. Tests that make mounts, cgroups or
processes are marked `system`, `peer` or `guest`; each must leave the machine as it found it.
"""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.system", "tests.runtime", "tests.exporter")

from lxcfs_py.host import Host  # noqa: E402
from tests import leftovers, scenarios, skips  # noqa: E402
from tests.scenarios import Scenario  # noqa: E402

collect_ignore = ["golden", "hosts"]
"""No tests there, and a captured sysfs has links that lead round in circles, which pytest would follow for ever."""

_KERNEL_MARKS = ("system", "peer", "guest")
_CI = os.environ.get("CI") == "true"

_SUMMARY = pytest.StashKey[list[str]]()

hypothesis.settings.register_profile("ours", deadline=None, database=None, derandomize=_CI, print_blob=True)
hypothesis.settings.load_profile("ours")  # a busy machine is no fault of the code; CI is the same each time

Golden = Callable[[Path, bytes], None]


def pytest_configure() -> None:
    """What a shell has a job in the background ignore, or nohup(1), what the tests start would ignore too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture
def host() -> Iterator[Host]:
    """This machine."""
    machine = Host()
    yield machine
    machine.close()


@pytest.fixture(params=scenarios.ALL, ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Each captured machine in turn."""
    found: Scenario = request.param
    return found


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)`: the text is what the file says; with --update-golden the file is made to say it."""

    def compare(path: Path, text: bytes) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            return
        if not path.exists():
            pytest.fail(
                f"{path} does not exist: look at what --update-golden writes there, then commit it", pytrace=False
            )
        known = path.read_bytes()
        if text != known:
            was, now = (part.decode(errors="replace").splitlines() for part in (known, text))
            pytest.fail("\n".join(difflib.unified_diff(was, now, str(path), "now", lineterm="")), pytrace=False)

    return compare


@pytest.fixture
def in_summary(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`in_summary(line)`: say it at the end of the run."""
    lines: list[str] = request.config.stash.setdefault(_SUMMARY, [])
    return lines.append


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what may run beside guests, then what waits for them, then what nothing may run beside."""
    items.sort(key=lambda item: [item.get_closest_marker(mark) is not None for mark in ("alone", "guest")])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_SUMMARY, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def _tests_run_here() -> Iterator[int]:
    with leftovers.locked() as lock:
        yield lock


@pytest.fixture(scope="module", autouse=True)
def _module_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """For what the fixtures of a whole module make."""
    if any(_touches_the_kernel(item) for item in request.session.items if item.path == request.path):
        yield from leftovers.guard(request.getfixturevalue("_tests_run_here"))
    else:
        yield


@pytest.fixture(autouse=True)
def _test_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    if _touches_the_kernel(request.node):
        yield from leftovers.guard(request.getfixturevalue("_tests_run_here"))
    else:
        yield


def _touches_the_kernel(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in _KERNEL_MARKS)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _touches_the_kernel(item) and os.geteuid() != 0:
        pytest.skip("not root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _CI and report.skipped and not hasattr(report, "wasxfail"):
        skips.judge(report, skips.LISTED)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _CI and report.skipped:
        skips.judge(report, skips.LISTED)
    return report
