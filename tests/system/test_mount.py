"""The by-caller tree on the real kernel, through both transports: exact texts for any reader, and what it refuses."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxcfs_py.fuse import tree
from tests.system.fake_tree import CONSTANT, FILES, check_stamped
from tests.system.serving import Served, serving

pytestmark = pytest.mark.system


@pytest.fixture(scope="module", params=["device", "fusepy"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), request.param) as daemon:
        yield daemon


def read_in_pieces(descriptor: int, size: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, size):
        pieces.append(piece)
    return b"".join(pieces)


def open_file(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@pytest.mark.parametrize("size", [1, 17, 512, 1430, 4096, 65536])
def test_a_file_reads_the_same_with_buffers_of_any_size(served: Served, size: int) -> None:
    for _ in range(3):
        descriptor = open_file(served.mount / "proc/constant")
        assert read_in_pieces(descriptor, size) == CONSTANT
        os.close(descriptor)


@pytest.mark.parametrize("size", [17, 512, 4096, 65536])
def test_the_pieces_that_one_reader_gets_are_of_one_render(served: Served, size: int) -> None:
    seen = set()
    for _ in range(20):
        descriptor = open_file(served.mount / "proc/stamped")
        seen.add(check_stamped(read_in_pieces(descriptor, size)))
        os.close(descriptor)
    assert len(seen) == 20, "each open is fresh"


def test_a_text_that_is_longer_than_any_read_is_of_one_render(served: Served) -> None:
    text = (served.mount / "proc/large").read_bytes()
    assert len(text) > 1 << 18
    check_stamped(text)


@pytest.mark.parametrize("size", [64, 65536])
def test_who_seeks_to_the_start_reads_a_fresh_text(served: Served, size: int) -> None:
    descriptor = open_file(served.mount / "proc/stamped")
    stamps = set()
    for _ in range(10):
        stamps.add(check_stamped(read_in_pieces(descriptor, size)))
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.read(descriptor, 10)  # a piece that the next pass must not see
        os.lseek(descriptor, 0, os.SEEK_SET)
    assert len(stamps) == 10
    os.close(descriptor)


def test_a_first_read_inside_and_one_past_the_end_are_as_in_a_kernel_file(served: Served) -> None:
    descriptor = open_file(served.mount / "proc/constant")
    assert os.pread(descriptor, 30, 100) == CONSTANT[100:130]
    assert os.pread(descriptor, 30, len(CONSTANT)) == b""
    assert os.pread(descriptor, 30, 1 << 40) == b""
    assert os.pread(descriptor, 1 << 16, 0) == CONSTANT
    assert os.pread(descriptor, 30, 100) == CONSTANT[100:130]
    os.close(descriptor)


def test_an_empty_file_is_empty(served: Served) -> None:
    assert (served.mount / "proc/empty").read_bytes() == b""


def test_files_that_are_open_at_once_do_not_mix(served: Served) -> None:
    descriptors = [open_file(served.mount / "proc/stamped") for _ in range(40)]
    texts = [b""] * 40
    going = set(range(40))
    while going:
        for number in sorted(going):
            piece = os.read(descriptors[number], 97)
            texts[number] += piece
            if not piece:
                going.discard(number)
    assert len({check_stamped(text) for text in texts}) == 40
    for descriptor in descriptors:
        os.close(descriptor)


def test_the_reader_is_told_by_its_pid(served: Served) -> None:
    child = subprocess.Popen(["cat", str(served.mount / "proc/pid")], stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0] == f"{child.pid}\n"


def test_many_readers_at_once_all_read_whole_texts(served: Served) -> None:
    failures: list[BaseException] = []

    def read_on() -> None:
        try:
            for size in (100, 4096, 65536) * 20:
                descriptor = open_file(served.mount / "proc/stamped")
                check_stamped(read_in_pieces(descriptor, size))
                os.close(descriptor)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_attributes_are_those_of_a_kernel_file_that_nobody_may_write(served: Served) -> None:
    for name in FILES:
        found = (served.mount / "proc" / name).stat()
        assert stat.filemode(found.st_mode) == "-r--r--r--"
        assert (found.st_uid, found.st_gid, found.st_size) == (0, 0, tree.SIZE)
    for path in ("", "proc", "sys/devices/system/cpu"):
        assert stat.filemode((served.mount / path).stat().st_mode) == "dr-xr-xr-x"


def test_a_listing_has_what_lookup_finds_with_its_type_and_number(served: Served) -> None:
    directory = served.mount / "sys/devices/system/cpu"
    with os.scandir(directory) as entries:
        found = {entry.name: entry for entry in entries}
    assert sorted(found) == sorted(["online", "link", *(f"cpu{number}" for number in range(300))])
    for name in ("online", "link", "cpu7"):
        status = (directory / name).lstat()
        assert found[name].is_symlink() == stat.S_ISLNK(status.st_mode) == (name == "link")
        assert found[name].inode() == status.st_ino or "fusepy" in served.process.args
    assert os.readlink(directory / "link") == "../cpu/online"
    assert (directory / "link").read_bytes() == b"answered\n"


def test_find_walks_the_whole_tree(served: Served) -> None:
    found = subprocess.run(["find", "."], cwd=served.mount, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert len(found.stdout.splitlines()) == 6 + len(FILES) + 302


@pytest.mark.parametrize("name", ["nothing", "meminfo ", "proc/..x", "x" * 255])
def test_what_is_not_there_is_not_found(served: Served, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        (served.mount / "proc" / name).stat()


def test_a_name_that_is_too_long_is_refused(served: Served) -> None:
    for length in (256, 1000, 4000):
        with pytest.raises(OSError, match=r"too long|No such file"):
            (served.mount / "proc" / ("x" * length)).stat()


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("open for writing", lambda proc: os.open(proc / "constant", os.O_WRONLY)),
    ("open for both", lambda proc: os.open(proc / "constant", os.O_RDWR)),
    ("open and truncate", lambda proc: os.open(proc / "constant", os.O_WRONLY | os.O_TRUNC)),
    ("truncate", lambda proc: os.truncate(proc / "constant", 0)),
    ("create", lambda proc: os.open(proc / "new", os.O_WRONLY | os.O_CREAT)),
    ("mkdir", lambda proc: os.mkdir(proc / "new")),
    ("mknod", lambda proc: os.mknod(proc / "new")),
    ("mkfifo", lambda proc: os.mkfifo(proc / "new")),
    ("symlink", lambda proc: os.symlink("x", proc / "new")),
    ("link", lambda proc: os.link(proc / "constant", proc / "new")),
    ("unlink", lambda proc: os.unlink(proc / "constant")),
    ("rmdir", lambda proc: os.rmdir(proc)),
    ("rename", lambda proc: os.rename(proc / "constant", proc / "new")),
    ("chmod", lambda proc: os.chmod(proc / "constant", 0o666)),
    ("chown", lambda proc: os.chown(proc / "constant", 1, 1)),
    ("utime", lambda proc: os.utime(proc / "constant", (0, 0))),
]


@pytest.mark.parametrize("change", [row[1] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_every_change_is_refused_even_to_root(served: Served, change: Callable[[Path], object]) -> None:
    with pytest.raises(OSError, match=r"ermi") as caught:
        change(served.mount / "proc")
    assert caught.value.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    assert (served.mount / "proc/constant").read_bytes() == CONSTANT


def test_extended_attributes_are_unsupported_as_on_procfs(served: Served) -> None:
    for call in (os.getxattr, os.removexattr):
        with pytest.raises(OSError, match="not supported"):
            call(served.mount / "proc/constant", "user.x")
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(served.mount / "proc/constant", "user.x", b"")


def test_a_user_without_privileges_reads_all_and_is_refused_the_rest(served: Served) -> None:
    script = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
path = sys.argv[1] + "/proc/constant"
assert len(open(path, "rb").read()) > 100
assert os.access(path, os.R_OK) and not os.access(path, os.W_OK) and not os.access(path, os.X_OK)
assert os.access(sys.argv[1], os.X_OK)
"""
    # pytest's own directories are closed to others: hand over a path that is not.
    root = os.open(served.mount, os.O_PATH)
    subprocess.run(["python3", "-c", script, f"/proc/self/fd/{root}"], pass_fds=[root], check=True)
    os.close(root)


def test_it_looks_as_empty_as_procfs_to_df(served: Served) -> None:
    found = os.statvfs(served.mount)
    assert (found.f_blocks, found.f_bfree, found.f_namemax) == (0, 0, 255)


def test_an_error_nobody_expected_is_eio_and_the_daemon_serves_on(served: Served) -> None:
    served.announced += ["event=request-failed cause='announced by the test'", "Traceback", "  ", "ValueError:"]
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output error"):
            (served.mount / "proc/value-error").read_bytes()
    assert (served.mount / "proc/constant").read_bytes() == CONSTANT
    assert served.log.read_text().count("Traceback") <= 2, "logged once by each worker"


@pytest.mark.parametrize(
    "command",
    [
        "cat {file}",
        "busybox cat {file}",
        "head -c 1000000 {file}",
        "tail -n 1000 {file}",
        "tail -c 100000 {file}",
        "cp {file} {copy} && cat {copy}",
        "busybox cp {file} {copy} && cat {copy}",
        "cat {file} > {copy} && cat {copy}",
        "cat {file} | cat",
        "dd if={file} bs=100 status=none",
        'python3 -c \'import shutil; shutil.copyfile("{file}", "{copy}")\' && cat {copy}',
    ],
)
def test_whatever_system_call_a_program_copies_with_it_gets_the_text(
    served: Served, tmp_path: Path, command: str
) -> None:
    words = command.format(file=served.mount / "proc/constant", copy=tmp_path / "copy")
    assert subprocess.run(["sh", "-c", words], capture_output=True, check=True).stdout == CONSTANT


@pytest.mark.parametrize("command", ["tail -n 2 {file}", "tail -c 52 {file}", "busybox tail -n 2 {file}"])
def test_tail_finds_the_end(served: Served, command: str) -> None:
    words = command.format(file=served.mount / "proc/constant").split()
    assert subprocess.run(words, capture_output=True, check=True).stdout == CONSTANT[-52:]


def test_programs_that_trust_a_size_count_the_bytes(served: Served) -> None:
    counted = subprocess.run(["wc", "-c", served.mount / "proc/constant"], capture_output=True, check=True).stdout
    assert int(counted.split()[0]) == len(CONSTANT)
