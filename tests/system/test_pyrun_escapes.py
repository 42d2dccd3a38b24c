"""The known ways out of a container, each tried: what other runtimes were found to let pass, by its CVE.

2019-5736   the runtime's executable, reached by /proc and written to
2021-30465  a mount point exchanged for a link between its check and its use
2024-21626  a directory of the host, open in the runtime, reached by /proc/self/fd
2025-31133  what hides a file, exchanged for another file
2025-52565  the same of /dev/console and the terminal bound on it
2025-52881  a write to /proc that lands in another file of it
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, bundle, configure, leftovers, new_id, write
from tests.system.stopping import Stopping

pytestmark = pytest.mark.system

BUSYBOX = next(path for path in (Path("/usr/bin/busybox"), Path("/bin/busybox")) if path.exists())


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def prey(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a file and a program; nobody may come by it."""
    directory = tmp_path / "prey"
    write(directory / "file", "untouched\n")
    (directory / "busybox").write_bytes(BUSYBOX.read_bytes())
    (directory / "busybox").chmod(0o755)
    yield directory
    assert sorted(os.listdir(directory)) == ["busybox", "file"]
    assert (directory / "file").read_text() == "untouched\n"


@pytest.fixture
def running(pyrun: Pyrun, tmp_path: Path) -> Iterator[str]:
    directory = bundle(pyrun, tmp_path / "running", ["sleep", "600"], root={"readonly": False})
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    pyrun.must("start", name)
    yield name
    pyrun.must("delete", "--force", name)


def run(pyrun: Pyrun, directory: Path) -> subprocess.CompletedProcess[str]:
    return pyrun.call("run", "--bundle", str(directory), new_id())


def add_mount(directory: Path, **mount: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[*config["mounts"], mount])


def without_dev(directory: Path) -> None:
    """Have the image's own /dev be the container's."""
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")])


# CVE-2024-21626 -------------------------------------------------------------------------------------------------------


@pytest.fixture
def leaked(prey: Path) -> Iterator[int]:
    """The prey, open in whoever calls the runtime: an engine's descriptors reach it as they are."""
    descriptor = os.open(prey, os.O_RDONLY | os.O_DIRECTORY)
    leaked = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 50)
    os.close(descriptor)
    yield leaked
    os.close(leaked)


def calling(pyrun: Pyrun, leaked: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(pyrun.command(*words), pass_fds=(leaked,), capture_output=True, text=True, timeout=SECONDS)


def test_cve_2024_21626_a_working_directory_is_no_descriptor(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    """Neither the caller's nor any that the runtime may have open itself."""
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "ls; ls ../../../../.."], root={"readonly": False})
    (directory / "rootfs/way").symlink_to(f"/proc/self/fd/{leaked}")
    for way in ("/way", *(f"/proc/self/fd/{number}" for number in (leaked, *range(3, 8)))):
        configure(directory, process={"cwd": way})
        done = calling(pyrun, leaked, "run", "--bundle", str(directory), new_id())
        assert (done.returncode != 0, done.stdout) == (True, ""), (way, done)
    for way in (f"/proc/self/fd/{leaked}", "/proc/self/fd/4"):
        done = calling(pyrun, leaked, "exec", "--cwd", way, running, "ls")
        assert (done.returncode != 0, done.stdout) == (True, ""), (way, done)


def test_cve_2024_21626_a_command_is_not_found_through_a_descriptor(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    command = [f"/proc/self/fd/{leaked}/busybox", "echo", "reached the host"]
    directory = bundle(pyrun, tmp_path / "b", command)
    for words in (["run", "--bundle", str(directory), new_id()], ["exec", running, *command]):
        done = calling(pyrun, leaked, *words)
        assert (done.returncode != 0, done.stdout) == (True, ""), (words, done)


def test_cve_2024_21626_the_command_has_no_descriptor_of_ours(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    """The fourth is the shell's own, of the directory that it lists."""
    script = "cd /proc/$$/fd; echo *"
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script])
    for words in (["run", "--bundle", str(directory), new_id()], ["exec", running, "sh", "-c", script]):
        assert calling(pyrun, leaked, *words).stdout == "0 1 2 3\n", words


# CVE-2019-5736 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exec", "create"])
def test_cve_2019_5736_the_runtime_is_on_a_mount_that_nobody_can_write_to(
    pyrun: Pyrun, tmp_path: Path, running: str, how: str
) -> None:
    """What a container could keep open of the runtime, as long as that is seen in its pid namespace."""
    words = ["exec", running, "true"]
    if how == "create":
        spaces = [{"type": kind} for kind in ("mount", "uts", "ipc")]
        spaces.append({"type": "pid", "path": f"/proc/{pyrun.state(running)['pid']}/ns/pid"})
        directory = bundle(pyrun, tmp_path / "b", ["true"], linux={"namespaces": spaces})
        words = ["run", "--bundle", str(directory), new_id()]
    seen = 0
    inside = os.stat(f"/proc/{pyrun.state(running)['pid']}/ns/pid")
    with Stopping(pyrun.command(*words), ("setgroups", "capset")) as stopping:
        for call in stopping.calls():
            assert os.path.samestat(os.stat(f"/proc/{call.pid}/ns/pid"), inside)
            executable = os.open(f"/proc/{call.pid}/exe", os.O_PATH)
            assert os.fstatvfs(executable).f_flag & os.ST_RDONLY
            os.close(executable)
            seen += 1
            stopping.go_on(call)
        assert (stopping.process.wait(SECONDS), seen) == (0, 2), stopping.said()


@pytest.mark.alike
def test_cve_2019_5736_the_runtime_is_no_command(pyrun: Pyrun, tmp_path: Path, running: str) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["/link"], root={"readonly": False})
    for rootfs in (directory / "rootfs", tmp_path / "running/rootfs"):
        (rootfs / "link").symlink_to("/proc/self/exe")
        write(rootfs / "script", "#!/proc/self/exe\n", 0o755)
    for command in ("/link", "/script", "/proc/self/exe"):
        configure(directory, args=[command])
        for words in (["run", "--bundle", str(directory), new_id()], ["exec", running, command]):
            assert "the runtime's own executable" in pyrun.call(*words).stderr, words


# CVE-2021-30465 -------------------------------------------------------------------------------------------------------


def test_cve_2021_30465_a_mount_point_exchanged_at_any_call_leads_nowhere_else(
    pyrun: Pyrun, tmp_path: Path, prey: Path
) -> None:
    """What a mount point lies below becomes a link to the host and a directory again, at every call of the init."""
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "sleep 600"])
    shared, link, kept = (directory / "rootfs" / name for name in ("shared", "link", "kept"))
    (shared / "deep").mkdir(parents=True)
    (prey / "deep").mkdir()
    link.symlink_to(prey)
    add_mount(directory, destination="/shared/deep", type="tmpfs", source="tmpfs")
    add_mount(directory, destination="/shared/deep/er", source=str(prey / "file"), options=["bind"])
    add_mount(directory, destination="/shared/new/est", type="tmpfs", source="tmpfs")
    name, calls = new_id(), 0
    with Stopping(pyrun.command("create", "--bundle", str(directory), name), EXCHANGED_AT) as stopping:
        for call in stopping.calls():
            for old, new in ((shared, kept), (link, shared), (kept, link)):
                old.rename(new)
            calls += 1
            mounted = Path(f"/proc/{call.pid}/mountinfo").read_text()
            assert not [line for line in mounted.splitlines() if line.split()[4].startswith(f"{prey}/")]
            stopping.go_on(call)
        stopping.process.wait(SECONDS)
    pyrun.must("delete", "--force", name)
    assert calls > 20
    assert os.listdir(prey / "deep") == []
    (prey / "deep").rmdir()


EXCHANGED_AT = ("mkdir", "mkdirat", "open_tree", "move_mount", "openat2", "fsmount", "mount_setattr")


# CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 -----------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/secret", "/proc/sys/kernel/core_pattern", "zero"])
def test_cve_2025_31133_what_hides_a_file_is_the_hosts_null_whatever_the_image_has_there(
    pyrun: Pyrun, tmp_path: Path, target: str
) -> None:
    """A link in the place of /dev/null made what is masked another file, and one that can be written to."""
    script = "stat -c %t:%T /masked"
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script], linux={"maskedPaths": ["/masked"]})
    without_dev(directory)
    write(directory / "rootfs/secret", "secret\n")
    write(directory / "rootfs/masked", "masked\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/null").symlink_to(target)
    os.mknod(tmp_path / "dev/zero", 0o20666, os.makedev(1, 5))
    add_mount(directory, destination="/dev", source=str(tmp_path / "dev"), options=["bind"])
    assert run(pyrun, directory).stdout == "1:3\n"


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "../proc/kcore", "/dev/pts/ptmx"])
def test_cve_2025_52565_a_link_in_the_place_of_the_console_shows_nothing_of_proc(
    pyrun: Pyrun, tmp_path: Path, target: str
) -> None:
    """The terminal is bound where the link leads, below which nothing is shown that is masked, and stays a terminal."""
    script = "stat -L -c %t /dev/console; echo x > /proc/sysrq-trigger; stat -c %t:%T /proc/kcore"
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script], root={"readonly": False})
    config = json.loads((directory / "config.json").read_text())
    devpts = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev/pts")]
    configure(directory, mounts=devpts)
    config = json.loads((directory / "config.json").read_text())
    config["process"]["terminal"] = True
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "rootfs/dev/pts").mkdir(parents=True)
    (directory / "rootfs/dev/console").symlink_to(target)
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    lines = done.stdout.split()
    assert not lines or lines[0] in ("88", "1"), done
    assert "1:3" in lines or done.returncode != 0, done


def test_cve_2025_52565_the_console_is_the_terminal_and_not_what_has_its_name(pyrun: Pyrun, tmp_path: Path) -> None:
    """Where the image has the devpts elsewhere, and a link in the place of the terminal that is opened."""
    directory = bundle(pyrun, tmp_path / "b", ["stat", "-L", "-c", "%t:%T", "/dev/console"], root={"readonly": False})
    without_dev(directory)
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    add_mount(directory, destination="/dev/pts/real", type="devpts", source="devpts", options=options)
    pts = directory / "rootfs/dev/pts"
    (pts / "real").mkdir(parents=True)
    (pts / "ptmx").symlink_to("real/ptmx")
    (pts / "0").symlink_to("/proc/sysrq-trigger")
    config = json.loads((directory / "config.json").read_text())
    config["process"]["terminal"] = True
    (directory / "config.json").write_text(json.dumps(config))
    assert run(pyrun, directory).stdout == "88:0\n"


@pytest.mark.alike
def test_cve_2025_52565_a_terminal_is_of_a_devpts_only(pyrun: Pyrun, tmp_path: Path) -> None:
    """What an image has at /dev/pts/ptmx is opened for nobody, neither a file nor another device."""
    directory = bundle(pyrun, tmp_path / "b", ["true"], root={"readonly": False})
    without_dev(directory)
    config = json.loads((directory / "config.json").read_text())
    config["process"]["terminal"] = True
    (directory / "config.json").write_text(json.dumps(config))
    pts = directory / "rootfs/dev/pts"
    pts.mkdir(parents=True)
    for make in (
        lambda: (pts / "ptmx").touch(),
        lambda: (pts / "ptmx").symlink_to("/proc/self/exe"),
        lambda: os.mknod(pts / "ptmx", 0o20666, os.makedev(5, 2)),
    ):
        make()
        done = pyrun.call("run", "--bundle", str(directory), new_id())
        assert done.returncode == 1, done
        (pts / "ptmx").unlink()


def test_cve_2025_52881_a_sysctl_is_not_written_to_another_file_that_is_bound_there(
    pyrun: Pyrun, tmp_path: Path
) -> None:
    """The write goes to the kernel's file and not to the one of the same procfs that the container has in its place."""
    sysctls = "/proc/sys/kernel/"
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["cat", "/shown/sys/kernel/domainname", "/shown/sys/kernel/hostname"],
        linux={"sysctl": {"kernel.domainname": "written"}},
        hostname="before",
    )
    (directory / "rootfs/shown").mkdir()
    add_mount(directory, destination="/shown", type="proc", source="proc")
    add_mount(directory, destination=f"{sysctls}domainname", source=f"{sysctls}hostname", options=["bind"])
    assert run(pyrun, directory).stdout == "written\nbefore\n"
