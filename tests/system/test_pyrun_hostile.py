"""A rootfs that was made to reach the host: links where mount points, devices and masks go. The host stays as it is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import Pyrun, bundle, configure, leftovers, new_id, write

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def prey(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that no container has any business with."""
    directory = tmp_path / "prey"
    write(directory / "file", "untouched\n")
    mounts = Path("/proc/self/mountinfo").read_text()
    yield directory
    assert sorted(os.listdir(directory)) == ["file"]
    assert (directory / "file").read_text() == "untouched\n"
    assert Path("/proc/self/mountinfo").read_text().count(str(directory)) == mounts.count(str(directory))


def run(pyrun: Pyrun, directory: Path) -> subprocess.CompletedProcess[str]:
    return pyrun.call("run", "--bundle", str(directory), new_id())


def mounted(directory: Path, **mount: object) -> None:
    """Add a mount to config.json."""
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[*config["mounts"], mount])


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_are_not_mounted_where_a_link_leads(pyrun: Pyrun, tmp_path: Path, prey: Path, name: str) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    (directory / "rootfs" / name).symlink_to(prey)
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert f"/{name} is a symbolic link in the rootfs" in done.stderr


@pytest.mark.parametrize("up", ["", "../../../../.."], ids=["absolute", "relative"])
@pytest.mark.parametrize("name", ["dev", "etc", "mnt"])
def test_a_link_leads_into_the_rootfs_and_not_to_the_host(
    pyrun: Pyrun, tmp_path: Path, prey: Path, name: str, up: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", f"cat /{name}/x/y; ls {prey}"])
    rootfs = directory / "rootfs"
    (rootfs / f".{prey}").mkdir(parents=True)
    (rootfs / name).symlink_to(f"{up}{prey}")
    write(tmp_path / "source", "bound\n")
    mounted(directory, destination=f"/{name}/x/y", source=str(tmp_path / "source"), options=["bind"])
    done = run(pyrun, directory)
    assert done.stdout.splitlines()[0] == "bound", done
    assert "x" in done.stdout.splitlines()


def test_a_dangling_link_is_told(pyrun: Pyrun, tmp_path: Path, prey: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    (directory / "rootfs/mnt").symlink_to(prey / "new")
    mounted(directory, destination="/mnt/x", type="tmpfs", source="tmpfs")
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert "no such file or directory" in done.stderr


def test_a_magic_link_leads_nowhere(pyrun: Pyrun, tmp_path: Path, prey: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    (directory / "rootfs/mnt").symlink_to(f"/proc/self/root{prey}")
    write(tmp_path / "source", "bound\n")
    mounted(directory, destination="/mnt/x", source=str(tmp_path / "source"), options=["bind"])
    assert run(pyrun, directory).returncode == 1


@pytest.mark.parametrize("path", ["/dev/null", "/dev/ptmx", "/dev/fd", "/dev/console"])
def test_links_where_devices_go_are_not_followed(pyrun: Pyrun, tmp_path: Path, prey: Path, path: str) -> None:
    """Without a tmpfs on /dev the devices are made in the rootfs itself."""
    directory = bundle(pyrun, tmp_path / "b", ["true"], root={"readonly": False})
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")])
    link = directory / "rootfs" / path[1:]
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(prey / "file")
    done = run(pyrun, directory)
    assert (done.returncode == 1 and "file exists" in done.stderr) == (path == "/dev/null"), done
    assert os.readlink(link) == str(prey / "file")


def test_another_device_in_the_place_of_null_is_not_used(pyrun: Pyrun, tmp_path: Path) -> None:
    """What hides files is the host's /dev/null, whatever the rootfs has there (CVE-2025-31133)."""
    directory = bundle(pyrun, tmp_path / "b", ["stat", "-c", "%t:%T %F", "/masked"], root={"readonly": False})
    config = json.loads((directory / "config.json").read_text())
    mounts = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    configure(directory, mounts=mounts, linux={"maskedPaths": ["/masked"]})
    write(directory / "rootfs/masked", "secret\n")
    done = run(pyrun, directory)
    assert done.stdout == "1:3 character special file\n", done
    (directory / "rootfs/dev/null").unlink()
    os.mknod(directory / "rootfs/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert "file exists" in run(pyrun, directory).stderr


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_a_link_where_a_path_is_masked_or_protected_stays_in_the_rootfs(
    pyrun: Pyrun, tmp_path: Path, prey: Path, kind: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["echo", "ran"], linux={kind: ["/link"]})
    (directory / "rootfs/link").symlink_to(prey)
    done = run(pyrun, directory)
    assert done.stdout == "ran\n"
    assert os.access(prey / "file", os.W_OK)


def test_sysctls_are_written_to_the_kernel_whatever_is_mounted_on_proc(pyrun: Pyrun, tmp_path: Path) -> None:
    """A mount over /proc/sys of the container takes no write of ours (CVE-2025-52881)."""
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["sh", "-c", "cat /shown/kernel/domainname"],
        linux={"sysctl": {"kernel.domainname": "ours"}},
    )
    mounted(directory, destination="/proc/sys", type="tmpfs", source="tmpfs")
    mounted(directory, destination="/shown", type="proc", source="proc")
    configure(directory, args=["cat", "/shown/sys/kernel/domainname"])
    assert run(pyrun, directory).stdout == "ours\n"


def test_modules_of_the_containers_files_are_not_imported(pyrun: Pyrun, tmp_path: Path) -> None:
    """The interpreter that becomes the command must not run the container's Python on the way there."""
    import encodings

    directory = bundle(pyrun, tmp_path / "b", ["no-such-command"], root={"readonly": False})
    library = directory / "rootfs" / Path(encodings.__file__).parents[1].relative_to("/")
    for name in ("traceback", "subprocess", "json", "pwd", "linecache", "errno2"):
        write(library / f"{name}.py", "open('/was-imported', 'w')\n")
    assert "executable file not found" in run(pyrun, directory).stderr
    assert not (directory / "rootfs/was-imported").exists()


def test_the_interpreter_is_not_executed_by_a_script(pyrun: Pyrun, tmp_path: Path) -> None:
    """A script whose interpreter is /proc/self/exe would run the host's Python in the container (CVE-2019-5736)."""
    directory = bundle(pyrun, tmp_path / "b", ["/script"])
    write(directory / "rootfs/script", "#!/proc/self/exe\nprint(1)\n", 0o755)
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert "the runtime's own executable" in done.stderr
