"""`import pyrun`: containers of a program's own, whatever threads, handlers and descriptors that program has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import pyrun
from tests.system.pyrun_here import SECONDS, Pyrun, await_none_left, bundle, configure, leftovers, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[pyrun.Settings]:
    yield pyrun.Settings(root=str(tmp_path / "state"))
    assert await_none_left(tmp_path / "state") == []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return bundle(Pyrun(tmp_path / "spec"), tmp_path / "bundle", ["sleep", "600"])


def said(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.read()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Of this thread; it may have some of other tests."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def test_the_life_of_a_container(settings: pyrun.Settings, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(directory, ["sh", "-c", "cat; echo $WORD >&2; exit 7"], process={"env": ["PATH=/bin", "WORD=said"]})
    name, pipe = new_id(), subprocess.PIPE
    before, others = descriptors(), children()
    with pyrun.Container.create(name, directory, settings=settings, stdin=pipe, stdout=pipe, stderr=pipe) as made:
        assert (made.status, made.id) == ("created", name)
        assert Path(f"/proc/{made.pid}").exists()
        assert made.ps() == [made.pid]
        made.start()
        assert made.stdin is not None
        made.stdin.write(b"through\n")
        made.stdin.close()
        assert (said(made.stdout), said(made.stderr)) == (b"through\n", b"said\n")
        assert (made.wait(SECONDS), made.wait()) == (7, 7)
        assert (made.status, made.pid) == ("stopped", 0)
        assert [each.id for each in pyrun.containers(settings=settings)] == [name]
    assert pyrun.containers(settings=settings) == []
    assert descriptors() == before
    assert children() <= others
    assert capfd.readouterr() == ("", "")


def test_what_it_does_is_what_the_command_line_does(settings: pyrun.Settings, directory: Path) -> None:
    with pyrun.Container.create(new_id(), directory, settings=settings) as made:
        made.start()
        again = pyrun.Container.load(made.id, settings=settings)
        assert again.state() == made.state()
        again.pause()
        assert made.status == "paused"
        with pytest.raises(pyrun.Conflict, match="paused"):
            made.exec(["true"])
        again.resume()
        made.update({"pids": {"limit": 77}})
        assert made.stats()["pids"]["limit"] == 77
        events = made.events(0.001)
        assert [next(events)["type"], next(events)["id"]] == ["stats", made.id]
        with pytest.raises(TimeoutError):
            made.wait(0.001)
        with pytest.raises(TimeoutError):
            again.wait(0.001)
        again.kill("KILL")
        assert (made.wait(SECONDS), again.wait(SECONDS)) == (137, None)
        assert [event["type"] for event in events] in ([], ["stats"])
        with pytest.raises(pyrun.Conflict, match="container not running"):
            again.kill()
        again.delete()
        with pytest.raises(pyrun.NotFound, match="container does not exist"):
            again.state()


def test_a_process_more(settings: pyrun.Settings, directory: Path) -> None:
    with pyrun.Container.create(new_id(), directory, settings=settings) as made:
        made.start()
        words = ["sh", "-c", "echo $WORD; id -u; cat; exit 3"]
        with made.exec(words, env={"WORD": "on"}, user="5:6", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.pid in made.ps()
            assert process.stdin is not None
            process.stdin.close()
            assert (said(process.stdout), process.wait(SECONDS)) == (b"on\n5\n", 3)
        with made.exec(process={"args": ["sleep", "600"], "cwd": "/", "env": ["PATH=/bin"]}) as process:
            with pytest.raises(TimeoutError):
                process.wait(0.001)
            process.kill("TERM")
            assert process.wait(SECONDS) == 143
            with pytest.raises(pyrun.Conflict, match="process already finished"):
                process.kill()
        assert made.ps() == [made.pid]


def test_descriptors_are_passed_in_their_order(settings: pyrun.Settings, directory: Path, tmp_path: Path) -> None:
    """Also those that have the numbers which they, or the library's own, are to have there."""
    files = [(tmp_path / name).open("wb") for name in ("a", "b", "c")]
    numbers = [files[2].fileno(), files[0].fileno(), files[1].fileno()]
    script = "echo a >&4; echo b >&5; echo c >&3; ls /proc/self/fd | while read n; do echo -n $n; done"
    with pyrun.Container.create(new_id(), directory, settings=settings) as made:
        made.start()
        with made.exec(["sh", "-c", script], stdout=subprocess.PIPE, pass_fds=numbers) as process:
            assert said(process.stdout).startswith(b"012345")
    for file in files:
        file.close()
        assert Path(file.name).read_text() == f"{Path(file.name).name}\n"


WRONG: list[tuple[dict[str, Any], type[Exception], dict[str, Any]]] = [
    ({"hostname": 3}, pyrun.SpecError, {"where": "hostname"}),
    ({"process": {"args": ["none"]}}, pyrun.Failure, {"status": 127}),
    ({"process": {"cwd": "/none"}}, pyrun.Failure, {"status": 1}),
    ({"linux": {"intelRdt": {"closID": "x"}}}, pyrun.Error, {}),
    ({"ociVersion": "9.0.0"}, pyrun.Error, {}),
]


@pytest.mark.alike
@pytest.mark.parametrize(("changes", "kind", "attributes"), WRONG, ids=[str(wrong[0]) for wrong in WRONG])
def test_what_fails_is_an_exception_of_its_kind(
    settings: pyrun.Settings,
    directory: Path,
    changes: dict[str, Any],
    kind: type[pyrun.Error],
    attributes: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(directory, **changes)
    before, others = descriptors(), children()
    with pytest.raises(kind) as caught:
        pyrun.Container.create(new_id(), directory, settings=settings)
    assert isinstance(caught.value, pyrun.Error)
    assert caught.value.message == str(caught.value)
    assert {name: getattr(caught.value, name) for name in attributes} == attributes
    assert descriptors() == before
    assert children() <= others
    assert capfd.readouterr() == ("", "")


@pytest.mark.alike
def test_a_failure_of_the_kernel_is_its_own(settings: pyrun.Settings, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = settings._replace(root=str(tmp_path / "file/state"))
    with pytest.raises(NotADirectoryError) as caught:
        pyrun.Container.create(new_id(), directory, settings=wrong)
    assert caught.value.__notes__ == ["while making the directory that containers are recorded in"]


@pytest.mark.alike
def test_warnings_are_heard_in_the_callers_thread(settings: pyrun.Settings, directory: Path) -> None:
    heard: list[tuple[int, str]] = []
    settings = settings._replace(warn=lambda text: heard.append((threading.get_ident(), text)))
    hook = {"poststop": [{"path": "/bin/false"}]}
    configure(directory, ["true"], process={"capabilities": {"bounding": ["CAP_NONE"]}}, hooks=hook)
    assert pyrun.Container.run(new_id(), directory, settings=settings) == 0
    assert [thread for thread, _ in heard] == [threading.get_ident()] * 2, heard
    assert "CAP_NONE is not known" in heard[0][1]
    assert "hooks.poststop[0] /bin/false: exited with 1" in heard[1][1]


CALLER = """
import os, sys, time
open(sys.argv[3], "a").write("begun ")
import pyrun
settings = pyrun.Settings(root=sys.argv[1])
made = pyrun.Container.create(sys.argv[4], sys.argv[2], settings=settings, tied=sys.argv[5:] == ["tied"])
made.start()
made.exec(["true"]).wait()
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("tied", [True, False])
def test_a_container_outlives_its_caller_unless_it_is_tied(
    settings: pyrun.Settings, directory: Path, tmp_path: Path, tied: bool
) -> None:
    name, begun = new_id(), tmp_path / "begun"
    words = [settings.root, str(directory), str(begun), name, *(["tied"] if tied else [])]
    with subprocess.Popen([sys.executable, "-c", CALLER, *words], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        try:
            assert caller.stdout.readline() == "up\n"
            pidfd = os.pidfd_open(pyrun.Container.load(name, settings=settings).pid)
        finally:
            caller.kill()
    if tied:
        assert readable(pidfd, SECONDS)
        assert await_none_left(Path(settings.root)) == []
    else:
        left = pyrun.Container.load(name, settings=settings)
        assert left.status == "running"
        left.delete(force=True)
    os.close(pidfd)
    assert begun.read_text() == "begun ", "the program was executed anew"


def test_a_caller_that_goes_before_it_hears_leaves_nothing(settings: pyrun.Settings, directory: Path) -> None:
    """By an exception of its own, as of a signal handler, while the container is being made."""
    name = new_id()
    configure(directory, hooks={"prestart": [{"path": "/bin/kill", "args": ["kill", "-USR1", str(os.getpid())]}]})

    def handler(*_: object) -> None:
        raise RuntimeError("enough")

    others = children()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(RuntimeError, match="enough"):
            pyrun.Container.create(name, directory, settings=settings)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert leftovers(Path(settings.root)) == []
    assert children() <= others


@pytest.mark.alike
def test_a_worker_that_is_killed_is_told_of(settings: pyrun.Settings, directory: Path) -> None:
    configure(directory, hooks={"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -KILL $PPID"]}]})
    name = new_id()
    with pytest.raises(pyrun.Failure, match="was killed") as caught:
        pyrun.Container.create(name, directory, settings=settings)
    assert caught.value.hint == "pyrun delete --force ID removes what it made"
    pyrun.Container.load(name, settings=settings).delete(force=True)


@pytest.mark.alike
def test_threads_that_do_everything_at_once(settings: pyrun.Settings, directory: Path) -> None:
    """Many containers and one that all use; beside them a thread that allocates, logs and imports."""
    failures: list[BaseException] = []
    over = threading.Event()
    limit = sys.getswitchinterval()

    def busy() -> None:
        import colorsys
        import importlib
        import logging

        while not over.is_set():
            logging.getLogger("lxt").debug("%s", [bytes(1000) for _ in range(100)])
            importlib.reload(colorsys)

    def use(shared: pyrun.Container) -> None:
        try:
            for _ in range(2):
                with pyrun.Container.create(new_id(), directory, settings=settings) as own:
                    own.start()
                    with own.exec(["echo", "own"], stdout=subprocess.PIPE) as process:
                        assert (said(process.stdout), process.wait(SECONDS)) == (b"own\n", 0)
                    with shared.exec(["echo", "all"], stdout=subprocess.PIPE) as process:
                        assert (said(process.stdout), process.wait(SECONDS)) == (b"all\n", 0)
                    assert shared.stats()["pids"]["current"] > 0
                    assert own.status == shared.status == "running"
        except BaseException as error:
            failures.append(error)

    before = descriptors()
    with pyrun.Container.create(new_id(), directory, settings=settings) as shared:
        shared.start()
        background = threading.Thread(target=busy)
        threads = [threading.Thread(target=use, args=(shared,)) for _ in range(4)]
        waiting = [threading.Thread(target=shared.wait) for _ in range(2)]
        sys.setswitchinterval(1e-5)
        try:
            for thread in (background, *threads, *waiting):
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(limit)
            over.set()
            background.join()
        shared.kill("KILL")
        for thread in waiting:
            thread.join()
        assert failures == []
        assert shared.wait() == 137
    assert descriptors() == before


@pytest.mark.alike
def test_what_is_offered_is_there_and_the_command_line_starts_without_it() -> None:
    assert [name for name in pyrun.__all__ if not hasattr(pyrun, name)] == []
    assert pyrun.configuration()["process"]["args"] == ["sh"]
    assert "rro" in pyrun.supported()["mountOptions"]
    program = "import sys, pyrun.cli; print('pyrun.library' in sys.modules, 'threading' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
