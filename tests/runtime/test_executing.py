"""The options of `pyrun exec` -> the process that config.json would have for it."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import UsageError
from pyrun import arguments, executing, plan, planning
from pyrun.cli import COMMANDS
from tests.runtime.configs import load

CONTAINERS: dict[str, Any] = {
    "terminal": True,
    "consoleSize": {"height": 1, "width": 2},
    "user": {"uid": 5, "gid": 6, "umask": 7, "additionalGids": [8]},
    "args": ["init"],
    "env": ["A=1"],
    "cwd": "/srv",
    "capabilities": {"bounding": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"]},
    "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}],
    "oomScoreAdj": 100,
}


def of(*words: str) -> dict[str, Any]:
    command = next(command for command in COMMANDS if command.name == "exec")
    return executing.of_options(arguments.parse(command.options, words, first_word_ends=True), CONTAINERS)


def test_without_an_option_it_is_the_containers_process_with_another_command_and_no_terminal() -> None:
    kept = {name: value for name, value in CONTAINERS.items() if name != "consoleSize"}
    assert of("x", "ls", "-l") == kept | {"args": ["ls", "-l"], "terminal": False}


CHANGES = [
    (["-t"], "terminal", True),
    (["--cwd", "/tmp"], "cwd", "/tmp"),
    (["-e", "B=2", "--env", "A=3"], "env", ["A=1", "B=2", "A=3"]),
    (["-u", "9"], "user", {"uid": 9, "gid": 6, "umask": 7, "additionalGids": [8]}),
    (["--user", "9:10", "-g", "11"], "user", {"uid": 9, "gid": 10, "umask": 7, "additionalGids": [8, 11]}),
    (["--no-new-privs"], "noNewPrivileges", True),
    (["--apparmor", "confined"], "apparmorProfile", "confined"),
    (["--process-label", "a:b"], "selinuxLabel", "a:b"),
    (
        ["-c", "CAP_KILL"],
        "capabilities",
        {
            "bounding": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_KILL"],
        },
    ),
]


@pytest.mark.parametrize(("words", "field", "value"), CHANGES, ids=[" ".join(words) for words, _, _ in CHANGES])
def test_an_option_changes_its_field_alone(words: list[str], field: str, value: object) -> None:
    assert of(*words, "x", "ls") == of("x", "ls") | {field: value}


def test_the_containers_own_process_is_left_as_it_is() -> None:
    before = repr(CONTAINERS)
    of("-e", "B=2", "-u", "9", "-g", "1", "-c", "CAP_KILL", "x", "ls")
    assert repr(CONTAINERS) == before


@pytest.mark.parametrize(
    "words",
    [["-e", "B"], ["-e", "=2"], ["-u", "root"], ["-u", "1:"], ["-u", "-1"], ["-u", "4294967295"], ["-g", "x"]],
    ids=" ".join,
)
def test_a_value_that_is_none_is_told_with_its_option(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"exec: --(env|user|additional-gids): "):
        of(*words, "x", "ls")


def test_what_a_file_leaves_out_of_confinement_is_the_containers() -> None:
    given = {"args": ["ls"], "cwd": "/", "rlimits": None, "oomScoreAdj": -5}
    made = executing.of_file(given, CONTAINERS)
    assert made == given | {"capabilities": CONTAINERS["capabilities"]} | {"rlimits": None}
    assert "user" not in made
    assert "env" not in made


def test_a_later_process_takes_the_first_ones_own_steps_and_none_of_the_trees() -> None:
    spec = load(**{"process.terminal": True, "process.oomScoreAdj": 7, "process.user.uid": 5})
    first = planning.make(spec, "x", "/b", planning.Facts({})).steps
    further = planning.further(spec, "x", 2)
    own = first[first.index(plan.OomScoreAdj(7)) : -2]
    assert further.steps == (
        plan.JoinKeyring("_ses.x"),
        plan.Console(path=""),
        *own,
        plan.Release(2),
        plan.Exec(spec.process.args, spec.process.env),
    )
    lines = further.describe().splitlines()
    assert lines[:2] == ["enter the cgroups of container x", "join pid, network, ipc, uts, mount, cgroup, time"]
    assert lines[-2:] == ["keep no descriptor but 0 to 4, and no signal ignored", "execute sh"]


def test_the_cpus_of_a_later_process_are_told() -> None:
    affinity = {"initial": "0-1", "final": "1"}
    lines = planning.further(load(**{"process.execCPUAffinity": affinity}), "x", 0).describe().splitlines()
    assert lines[:3] == ["run on CPUs 0-1", "enter the cgroups of container x", "run on CPUs 1"]
