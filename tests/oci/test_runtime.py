"""runtime.md: State, Lifecycle, Operations."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.oci.runtimes import Bundle, Runtime
from tests.system.pyrun_here import SECONDS
from tests.waiting import readable

pytestmark = [pytest.mark.system, pytest.mark.alike]


@pytest.fixture
def bundle(runtime: Runtime) -> Bundle:
    return runtime.bundle("echo ran > /said; sleep 600", annotations={"a.b": "c"})


@pytest.fixture
def created(runtime: Runtime, bundle: Bundle) -> Iterator[str]:
    name = runtime.new_id()
    runtime.must("create", "--bundle", str(bundle.path), name)
    yield name
    runtime.must("delete", "--force", name)


def end(runtime: Runtime, container: str) -> None:
    """Kill it and await its end."""
    descriptor = os.pidfd_open(runtime.state(container)["pid"])
    runtime.must("kill", container, "KILL")
    ready = readable(descriptor, SECONDS)
    os.close(descriptor)
    assert ready


def test_state(runtime: Runtime, bundle: Bundle, created: str) -> None:
    told = runtime.state(created)
    assert told["ociVersion"].startswith("1.")
    assert (told["id"], told["status"], told["bundle"]) == (created, "created", str(bundle.path))
    assert told["annotations"]["a.b"] == "c"
    assert os.path.exists(f"/proc/{told['pid']}")


def test_lifecycle_the_process_runs_at_start_and_not_before(runtime: Runtime, bundle: Bundle, created: str) -> None:
    said = bundle.rootfs / "said"
    assert not said.exists()
    runtime.must("start", created)
    while not said.exists():
        os.sched_yield()
    assert runtime.state(created)["status"] == "running"
    end(runtime, created)
    assert runtime.state(created)["status"] == "stopped"


def test_lifecycle_changes_of_the_configuration_after_create_have_no_effect(
    runtime: Runtime, bundle: Bundle, created: str
) -> None:
    bundle.configure({"process.args": ["sh", "-c", "echo other > /other"], "hostname": "second"})
    runtime.must("start", created)
    while not (bundle.rootfs / "said").exists():
        os.sched_yield()
    assert not (bundle.rootfs / "other").exists()


def test_query_state_of_a_container_that_does_not_exist(runtime: Runtime) -> None:
    runtime.refuses("state", "lxt-oci-none")


def test_create_without_a_bundle(runtime: Runtime) -> None:
    runtime.refuses("create", "--bundle", "/no/such", runtime.new_id())


def test_create_an_id_that_is_in_use(runtime: Runtime, bundle: Bundle, created: str) -> None:
    runtime.refuses("create", "--bundle", str(bundle.path), created)
    assert runtime.state(created)["status"] == "created"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ociVersion": None}, marks=pytest.mark.unlike("runc")),
        {"root__path": "none"},
        {"process__args": ["/none"]},
        pytest.param({"process__cwd": "none"}, marks=pytest.mark.unlike("crun")),
        {"linux__namespaces": [{"type": "mount"}, {"type": "none"}]},
        {"mounts": [{"destination": "/x", "type": "none", "source": "none"}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_create_what_cannot_be_is_an_error_and_leaves_nothing(runtime: Runtime, changes: dict[str, object]) -> None:
    name = runtime.new_id()
    runtime.refuses("create", "--bundle", str(runtime.bundle(**changes).path), name)
    runtime.refuses("state", name)


def test_start_one_that_does_not_exist_or_has_been_started(runtime: Runtime, created: str) -> None:
    runtime.refuses("start", "lxt-oci-none")
    runtime.must("start", created)
    runtime.refuses("start", created)
    assert runtime.state(created)["status"] == "running"
    end(runtime, created)
    runtime.refuses("start", created)


def test_kill_one_that_is_neither_created_nor_running(runtime: Runtime, created: str) -> None:
    runtime.refuses("kill", "lxt-oci-none", "KILL")
    end(runtime, created)
    runtime.refuses("kill", created, "KILL")


def test_kill_sends_the_signal_that_is_said(runtime: Runtime) -> None:
    script = "trap 'echo got > /said; exit' USR1; touch /ready; while true; do sleep 0.01; done"
    bundle, name = runtime.bundle(script), runtime.new_id()
    runtime.must("create", "--bundle", str(bundle.path), name)
    runtime.must("start", name)
    while not (bundle.rootfs / "ready").exists():
        os.sched_yield()
    descriptor = os.pidfd_open(runtime.state(name)["pid"])
    runtime.must("kill", name, "USR1")
    ready = readable(descriptor, SECONDS)
    os.close(descriptor)
    assert ready
    assert (bundle.rootfs / "said").read_text() == "got\n"
    runtime.must("delete", name)


def test_delete_one_that_does_not_exist_or_runs(runtime: Runtime, created: str) -> None:
    runtime.refuses("delete", "lxt-oci-none")
    runtime.must("start", created)
    runtime.refuses("delete", created)
    assert runtime.state(created)["status"] == "running"


def test_delete_gives_the_id_free(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.new_id()
    for _ in range(2):
        runtime.must("create", "--bundle", str(bundle.path), name)
        end(runtime, name)
        runtime.must("delete", name)
        runtime.refuses("state", name)


def test_list_has_what_is_there(runtime: Runtime, created: str) -> None:
    assert [state["id"] for state in json.loads(runtime.must("list", "--format", "json"))] == [created]
