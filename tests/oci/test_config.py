"""config.md: Root, Mounts, Process, Hostname, Hooks, Annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.oci.runtimes import Runtime, base
from tests.system.pyrun_here import write

pytestmark = [pytest.mark.system, pytest.mark.alike]


def mounts(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*base()["mounts"], *more]


@pytest.mark.unlike("runc")
def test_version_is_semantic(runtime: Runtime) -> None:
    runtime.refuses("create", "--bundle", str(runtime.bundle(ociVersion="none").path), runtime.new_id())


def test_root_may_be_read_only(runtime: Runtime) -> None:
    assert runtime.says("touch /x && echo written; true")[-1:] == ["written"]
    done = runtime.run("touch /x", root__readonly=True)
    assert (done.returncode, "Read-only" in done.stderr) == (1, True)


def test_root_path_may_be_absolute(runtime: Runtime) -> None:
    made = runtime.bundle("echo ran")
    made.configure({"root.path": str(made.rootfs)})
    assert runtime.must("run", "--bundle", str(made.path), runtime.new_id()) == "ran\n"


def test_mounts_are_made_in_the_order_that_they_have(runtime: Runtime, tmp_path: Path) -> None:
    write(tmp_path / "source/below/file", "content\n")
    over = {"destination": "/a/below", "type": "tmpfs", "source": "tmpfs"}
    bind = {"destination": "/a", "source": str(tmp_path / "source"), "options": ["rbind"]}
    assert runtime.says("ls /a/below", mounts=mounts(bind, over)) == []
    assert runtime.says("ls /a/below", mounts=mounts(over, bind)) == ["file"]


def test_mounts_make_destinations_that_are_missing(runtime: Runtime, tmp_path: Path) -> None:
    write(tmp_path / "file", "content\n")
    bind = {"destination": "/new/deep/file", "source": str(tmp_path / "file"), "options": ["bind", "ro"]}
    assert runtime.says("cat /new/deep/file; test -w /new/deep/file || true", mounts=mounts(bind)) == ["content"]


def test_mounts_options(runtime: Runtime) -> None:
    options = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "sync", "mode=700", "size=8k")
    made = [
        {"destination": f"/m{index}", "type": "tmpfs", "source": "tmpfs", "options": [option]}
        for index, option in enumerate(options)
    ]
    found = {line.split()[1]: line.split()[3] for line in runtime.says("cat /proc/self/mounts", mounts=mounts(*made))}
    for index, option in enumerate(options):
        assert option in found[f"/m{index}"].split(","), option


def test_mounts_bind_options(runtime: Runtime, tmp_path: Path) -> None:
    write(tmp_path / "source/file", "content\n")
    bind = {"destination": "/m", "source": str(tmp_path / "source"), "options": ["bind", "ro", "nosuid", "nodev"]}
    done = runtime.run("grep ' /m ' /proc/self/mounts; touch /m/x", mounts=mounts(bind))
    assert {"ro", "nosuid", "nodev"} <= set(done.stdout.split()[3].split(","))
    assert "Read-only" in done.stderr
    assert not (tmp_path / "source/x").exists()


def test_process_arguments_environment_and_directory(runtime: Runtime) -> None:
    script = 'echo "$0|$1|$2"; echo $WORD; pwd'
    arguments = ["sh", "-c", script, "zero", "one two", ""]
    said = runtime.says("", process__args=arguments, process__env=["PATH=/bin", "WORD=a=b"], process__cwd="/bin")
    assert said == ["zero|one two|", "a=b", "/bin"]


def test_process_is_found_by_the_path_of_its_environment(runtime: Runtime) -> None:
    made = runtime.bundle(process__args=["tool"], process__env=["PATH=/none:/tools"])
    write(made.rootfs / "tools/tool", "#!/bin/sh\necho found\n", 0o755)
    assert runtime.must("run", "--bundle", str(made.path), runtime.new_id()) == "found\n"
    made.configure({"process.env": ["PATH=/bin"]})
    runtime.refuses("run", "--bundle", str(made.path), runtime.new_id())


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137), ("true", 0)])
def test_process_exit_code(runtime: Runtime, script: str, status: int) -> None:
    assert runtime.run(script).returncode == status


def test_process_user(runtime: Runtime) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o27}
    assert runtime.says("id -u; id -g; id -G; umask", process__user=user) == ["1000", "1001", "1001 5 7", "0027"]


def test_process_rlimits(runtime: Runtime) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 100}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    assert runtime.says("ulimit -n; ulimit -Hn; ulimit -c", process__rlimits=limits) == ["50", "100", "0"]


@pytest.mark.unlike("crun", "runc")
def test_process_rlimits_of_one_type_are_an_error(runtime: Runtime) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 100}] * 2
    runtime.refuses("run", "--bundle", str(runtime.bundle(process__rlimits=limits).path), runtime.new_id())


@pytest.mark.parametrize("value", [True, False])
def test_process_no_new_privileges(runtime: Runtime, value: bool) -> None:
    said = runtime.says("grep NoNewPrivs /proc/self/status", process__noNewPrivileges=value)
    assert said == [f"NoNewPrivs:\t{int(value)}"]


def test_process_capabilities(runtime: Runtime) -> None:
    sets = {
        "bounding": ["CAP_KILL", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    user = {"uid": 1000, "gid": 1000}
    said = runtime.says("grep ^Cap /proc/self/status", process__capabilities=sets, process__user=user)
    assert [int(line.split()[1], 16) for line in said] == [0x20, 0x20, 0x20, 0x21, 0x20]


def test_process_oom_score_adj(runtime: Runtime) -> None:
    assert runtime.says("cat /proc/self/oom_score_adj", process__oomScoreAdj=321) == ["321"]


def test_hostname(runtime: Runtime) -> None:
    assert runtime.says("hostname", hostname="inside") == ["inside"]


# Hooks ----------------------------------------------------------------------------------------------------------------

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
LATE = ("poststart", "poststop")


def hook(directory: Path, kind: str, then: str = "") -> dict[str, Any]:
    """Notes its kind, its argument and the state that it is given."""
    script = f"printf '%s %s ' {kind} \"$1\" >> {directory}/order; cat > {directory}/{kind}.json; {then}"
    return {"path": "/bin/sh", "args": ["sh", "-c", script, "x", "argument"], "env": ["PATH=/usr/bin:/bin"]}


@pytest.mark.unlike("crun", "runc")
def test_hooks_are_called_in_the_order_of_the_lifecycle_with_the_state(runtime: Runtime, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    hooks = {kind: [hook(notes, kind)] for kind in KINDS}
    bind = {"destination": str(notes), "source": str(notes), "options": ["bind"]}
    made = runtime.bundle(hooks=hooks, mounts=mounts(bind), annotations={"a.b": "c"})
    name = runtime.new_id()
    runtime.must("run", "--bundle", str(made.path), name)
    assert (notes / "order").read_text().split()[::2] == list(KINDS)
    assert set((notes / "order").read_text().split()[1::2]) == {"argument"}
    for kind in KINDS:
        told = json.loads((notes / f"{kind}.json").read_text())
        assert (told["id"], told["annotations"]["a.b"]) == (name, "c"), kind
        # crun tells startContainer hooks, which run in the container, of a bundle at /.
        assert told["bundle"] == str(made.path) or kind == "startContainer"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LATE])
def test_hooks_that_fail_before_the_start_are_an_error(runtime: Runtime, tmp_path: Path, kind: str) -> None:
    made = runtime.bundle("echo ran", hooks={kind: [{"path": "/bin/false"}]})
    name = runtime.new_id()
    done = runtime.call("run", "--bundle", str(made.path), name)
    assert (done.returncode != 0, done.stdout) == (True, "")
    runtime.refuses("state", name)


@pytest.mark.unlike("runc")
def test_hooks_poststop_that_fail_let_the_others_run_and_the_container_go(runtime: Runtime, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    hooks = {"poststop": [{"path": "/bin/false"}, hook(notes, "poststop")]}
    made, name = runtime.bundle("echo ran", hooks=hooks), runtime.new_id()
    assert runtime.call("run", "--bundle", str(made.path), name).stdout == "ran\n"
    assert (notes / "order").exists()
    runtime.refuses("state", name)


def test_hooks_time_out(runtime: Runtime) -> None:
    slow = {"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1}
    runtime.refuses("run", "--bundle", str(runtime.bundle(hooks={"createRuntime": [slow]}).path), runtime.new_id())


def test_extensibility_what_is_not_known_is_no_error(runtime: Runtime) -> None:
    assert runtime.says("echo ran", none={"a": [1]}, process__none=True, linux__none="x") == ["ran"]
