"""OCI annotations: the hook notes what they choose, for the container that has them and for no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py import oci, records, rundir
from lxcfs_py.cgroup import hierarchy, keys, tree
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
from lxcfs_py.rundir.records import Records
from tests import cgroups
from tests.bench.container import Container, container
from tests.cgroups import Limits
from tests.system.launched import BIN, new_name
from tests.system.serving import REAL, Served, bound, serving

pytestmark = pytest.mark.system

GROUP = "/lxt-oci"
LIMITS = Limits(memory=64 << 20, quota=100_000)
HOOK = (sys.executable, "-m", "lxcfs_py.cli", "oci-hook", "--run-dir")


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    rundir.make(f"{tmp_path}/run")
    Records(f"{tmp_path}/run")
    return f"{tmp_path}/run"


@pytest.fixture
def box() -> Iterator[Container]:
    with container(GROUP, LIMITS) as made:
        yield made


def state(pid: int, annotations: dict[str, Any] | None, **more: Any) -> bytes:
    told = {"ociVersion": "1.0.2", "id": "x", "status": "created", "pid": pid, **more}
    return json.dumps(told if annotations is None else {**told, "annotations": annotations}).encode()


def chosen(host: Host, run_dir: str, path: str) -> Policy:
    return InForce(host, run_dir, (0,)).of(tree.at(hierarchy.find(host), path))


def notes(run_dir: str) -> list[str]:
    return Records(run_dir).keys(records.POLICY)


def test_what_is_noted_is_in_force_in_that_container_alone(host: Host, run_dir: str, box: Container) -> None:
    with cgroups.made(f"{GROUP}-other"):
        assert oci.note(host, run_dir, state(box.init, {"org.lxcfs.cpus": "host", "org.lxcfs.swap": "false"})) == ""
        assert chosen(host, run_dir, GROUP) == Policy(cpus="host", swap=False)
        assert chosen(host, run_dir, f"{GROUP}-other") == Policy()


def test_a_cgroup_of_the_same_name_does_not_inherit_it_and_the_note_is_swept_away(host: Host, run_dir: str) -> None:
    with container(GROUP, LIMITS) as box:
        oci.note(host, run_dir, state(box.init, {"org.lxcfs.cpus": "host"}))
        first = notes(run_dir)
    with container(GROUP, LIMITS) as box:
        assert chosen(host, run_dir, GROUP) == Policy()
        oci.note(host, run_dir, state(box.init, {"org.lxcfs.cpus": "cpuset"}))
        assert chosen(host, run_dir, GROUP) == Policy(cpus="cpuset")
    assert len(first) == 1
    with container(f"{GROUP}-b", LIMITS) as box:
        oci.note(host, run_dir, state(box.init, {"org.lxcfs.cpus": "host"}))
        assert len(notes(run_dir)) == 1


def test_an_init_that_goes_further_down_is_found_and_the_nearest_note_counts(host: Host, run_dir: str) -> None:
    inner, nested = f"{GROUP}/inner", f"{GROUP}/inner/nested"
    with container(GROUP, LIMITS) as box, cgroups.made(inner, delegate=False), cgroups.made(nested, delegate=False):
        oci.note(host, run_dir, state(box.init, {"org.lxcfs.uptime": "host"}))
        cgroups.enter(inner, box.init)
        assert chosen(host, run_dir, inner) == chosen(host, run_dir, nested) == Policy(uptime="host")
        with cgroups.container(nested, "") as pid:
            oci.note(host, run_dir, state(pid, {"org.lxcfs.swap": "false"}))
            assert chosen(host, run_dir, nested) == Policy(swap=False)
            assert chosen(host, run_dir, inner) == Policy(uptime="host")


def test_a_second_note_takes_the_place_of_the_first(host: Host, run_dir: str, box: Container) -> None:
    for value in ("host", "cpuset"):
        oci.note(host, run_dir, state(box.init, {"org.lxcfs.cpus": value}))
        assert chosen(host, run_dir, GROUP) == Policy(cpus=value)


def test_without_annotations_of_ours_nothing_is_noted(host: Host, run_dir: str, box: Container) -> None:
    for others in ({}, {"io.kubernetes.pod": "x"}, None):
        assert oci.note(host, run_dir, state(box.init, others)) == ""
    assert notes(run_dir) == []


def test_where_the_state_has_no_annotations_those_of_the_bundle_count(
    host: Host, run_dir: str, tmp_path: Path, box: Container
) -> None:
    told = state(box.init, None, bundle=str(tmp_path))
    assert oci.note(host, run_dir, told) == ""
    (tmp_path / "config.json").write_text('{"annotations": {"org.lxcfs.cpus": "host"}}')
    assert oci.note(host, run_dir, told) == ""
    assert chosen(host, run_dir, GROUP) == Policy(cpus="host")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(Error, match="is no JSON object"):
        oci.note(host, run_dir, told)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "the container's state is no JSON object"),
        (b"[" * 100_000, "the container's state is no JSON object"),
        (b'"x"', "the container's state is no JSON object"),
        (b"{}", "the container's state has no pid"),
        (b'{"pid": 0}', "the container's state has no pid"),
        (b'{"pid": true}', "the container's state has no pid"),
        (b'{"pid": "1"}', "the container's state has no pid"),
    ],
)
def test_what_is_no_state_is_an_error(host: Host, run_dir: str, text: bytes, why: str) -> None:
    with pytest.raises(Error) as caught:
        oci.note(host, run_dir, text)
    assert caught.value.message == why


def test_a_wrong_annotation_is_an_error_with_or_without_a_daemon(host: Host, run_dir: str) -> None:
    for directory in (run_dir, "/nonexistent"):
        with pytest.raises(Error, match=r'annotation org\.lxcfs\.cpus: must be quota, cpuset or host, not "all"'):
            oci.note(host, directory, state(1, {"org.lxcfs.cpus": "all"}))


@pytest.mark.parametrize("pid", [1, (1 << 22) + 7, 1 << 70])
def test_a_container_that_cannot_be_noted_starts_all_the_same(host: Host, run_dir: str, pid: int) -> None:
    assert oci.note(host, run_dir, state(pid, {"org.lxcfs.cpus": "host"})) != ""
    assert notes(run_dir) == []


def call(run_dir: str, told: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*HOOK, run_dir], input=told, capture_output=True, check=False, timeout=60)


def test_the_command_succeeds_with_a_warning_where_no_daemon_is(box: Container) -> None:
    done = call("/nonexistent/run", state(box.init, {"org.lxcfs.cpus": "host"}))
    warning = b"lxcfs-py: warning: annotations are not in force: /nonexistent/run: no lxcfs-py has served here\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", warning)
    assert not Path("/nonexistent").exists()


def test_the_command_fails_with_a_line_where_an_annotation_is_wrong(box: Container, run_dir: str) -> None:
    done = call(run_dir, state(box.init, {"org.lxcfs.swap": "off"}))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b'lxcfs-py: annotation org.lxcfs.swap: must be true or false, not "off"\n'


def test_a_daemon_shows_what_the_hook_noted_and_what_it_said_goes_before_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[[container]]\ncgroup = "{GROUP}*"\ncpus = "quota"\nswap = false\n')
    online = "sys/devices/system/cpu/online"
    with serving(tmp_path, "--config", str(config), command=REAL) as served:
        with container(GROUP, LIMITS) as box:
            done = call(str(served.run_dir), state(box.init, {"org.lxcfs.cpus": "host"}))
            assert (done.returncode, done.stderr) == (0, b"")
            assert box.read(f"{served.mount}/{online}") == Path(f"/{online}").read_text()
            assert box.read(f"{served.mount}/proc/swaps").count("\n") == 1
        with container(GROUP, LIMITS) as box:
            assert box.read(f"{served.mount}/{online}") == "0\n"


def test_a_bound_file_of_the_page_cache_shows_at_once_what_the_hook_noted(tmp_path: Path) -> None:
    """Runtimes bind files first and call hooks then, and a container starts long before --max-age ends."""
    online = "sys/devices/system/cpu/online"
    with serving(tmp_path, "--max-age", "3600", command=REAL) as served, container(GROUP, LIMITS) as box:
        source = served.run_dir / "containers" / keys.escaped(GROUP) / online
        with bound(source, tmp_path / "online") as file:
            assert file.read_text() == "0\n"
            assert call(str(served.run_dir), state(box.init, {"org.lxcfs.cpus": "host"})).returncode == 0
            assert file.read_text() == Path(f"/{online}").read_text()


def pyrun(served: Served, *words: str) -> subprocess.CompletedProcess[str]:
    lxcfs = ("--lxcfs", "--lxcfs-mount", str(served.mount), "--lxcfs-run-dir", str(served.run_dir))
    named = [str(BIN / "pyrun"), "--root", f"{served.run_dir}/pyrun", *lxcfs, "launch", "--name", new_name(), *words]
    return subprocess.run(named, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)


def test_pyrun_has_the_hook_note_its_annotations(tmp_path: Path) -> None:
    online = "/sys/devices/system/cpu/online"
    words = ("--cpus", "1", "--annotation", "org.lxcfs.cpus=host", "--annotation", "org.lxcfs.loadavg=false")
    with serving(tmp_path, command=REAL) as served:
        plan = pyrun(served, *words, "--dry-run", "true").stdout
        assert f"oci-hook --run-dir {served.run_dir}\n" in plan
        done = pyrun(served, *words, "--", "cat", online)
        assert (done.returncode, done.stdout, done.stderr) == (0, Path(online).read_text(), "")
        assert pyrun(served, "--cpus", "1", "--", "cat", online).stdout == "0\n"

        done = pyrun(served, "--annotation", "org.lxcfs.cpus=all", "--", "cat", online)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith("pyrun: hooks.createRuntime[0] ")
        assert done.stderr.endswith('annotation org.lxcfs.cpus: must be quota, cpuset or host, not "all"\n')
