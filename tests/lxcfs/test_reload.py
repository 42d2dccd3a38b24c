"""What is read at the start and on a reload, and what of it a later process finds."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from lxcfs_py import policy, reload, rundir
from lxcfs_py.errors import Error, NotFound, ParseError
from lxcfs_py.policy import Source
from lxcfs_py.rundir import configuration
from lxcfs_py.rundir.control import Control


@pytest.fixture
def directory(tmp_path: Path) -> str:
    rundir.make(f"{tmp_path}/run")
    return f"{tmp_path}/run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("[default]\nswap = false\n")
    return path


def begun(directory: str, file: Path, *, required: bool = True) -> None:
    reload.begin(directory, reload.load(Source(str(file), required), {"cpus": "host"}))


def in_force(directory: str) -> configuration.Configuration:
    known = configuration.read(directory)
    assert known is not None
    return known


def test_what_was_accepted_is_read_back_whole(directory: str, file: Path) -> None:
    file.write_text('[default]\nswap = false\n[[container]]\ncgroup = "/a"\nloadavg = false\n')
    loaded = reload.load(Source(str(file), True), {"cpus": "host"})
    reload.begin(directory, loaded)
    assert in_force(directory) == loaded
    assert loaded.found


def test_nobody_serves_where_nothing_was_accepted(directory: str) -> None:
    assert configuration.read(directory) is None


def test_a_damaged_one_is_told(directory: str) -> None:
    for text in ("", "[]", "{}", '{"policies": [1, 2]}'):
        Path(directory, "configuration.json").write_text(text)
        with pytest.raises(ParseError, match="not a configuration"):
            configuration.read(directory)


def test_a_reload_takes_what_the_file_says_now_and_keeps_the_flags(
    directory: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(directory, file)
    before = Control(directory).generation[0]
    file.write_text("[default]\nloadavg = false\n")
    with caplog.at_level(logging.INFO):
        reload.again(directory)
    assert in_force(directory).policies == policy.Policies({"loadavg": False}, (), {"cpus": "host"})
    assert Control(directory).generation[0] == before + 1
    assert "event=reloaded" in caplog.text


@pytest.mark.parametrize("change", [lambda file: file.write_text("[default]\nswap = 3\n"), lambda file: file.unlink()])
def test_a_reload_that_is_refused_changes_nothing_and_says_why(
    directory: str, file: Path, caplog: pytest.LogCaptureFixture, change: object
) -> None:
    begun(directory, file)
    before, generation = in_force(directory), Control(directory).generation[0]
    assert callable(change)
    change(file)
    reload.again(directory)
    after = in_force(directory)
    assert (after.policies, after.loaded, after.found) == (before.policies, before.loaded, True)
    assert Control(directory).generation[0] == generation
    assert after.refused.startswith(f"{file}:")
    assert f"event=reload-refused cause='{after.refused}'" in caplog.text


def test_a_refusal_is_forgotten_when_the_file_is_right_again(directory: str, file: Path) -> None:
    begun(directory, file)
    file.write_text("x")
    reload.again(directory)
    assert in_force(directory).refused
    file.write_text("")
    reload.again(directory)
    assert not in_force(directory).refused


def test_a_file_that_may_be_missing_may_go_and_come(directory: str, file: Path) -> None:
    begun(directory, file, required=False)
    file.unlink()
    reload.again(directory)
    assert not in_force(directory).found
    assert in_force(directory).policies == policy.Policies({}, (), {"cpus": "host"})
    file.write_text("[default]\nzswap = false")
    reload.again(directory)
    assert in_force(directory).policies.default == {"zswap": False}


def test_a_reload_without_a_configuration_is_refused(directory: str, caplog: pytest.LogCaptureFixture) -> None:
    reload.again(directory)
    assert "event=reload-refused" in caplog.text
    assert configuration.read(directory) is None


def test_a_fifo_is_not_waited_for_and_a_directory_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert reload.load(Source(f"{tmp_path}/fifo", True), {}).policies == policy.BUILT_IN
    with pytest.raises(OSError, match="directory") as caught:
        reload.load(Source(str(tmp_path), True), {})
    assert caught.value.filename == str(tmp_path)


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(Error, match="/dev/zero: more than 262144 bytes"):
        reload.load(Source("/dev/zero", True), {})


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        reload.load(Source(f"{tmp_path}/none", True), {})
    assert not reload.load(Source(f"{tmp_path}/none", False), {}).found
