"""`-v` and `--device` of `pyrun launch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lxcfs_py.errors import UsageError
from pyrun import options, volumes


def test_a_volume_is_a_bind_mount_with_all_below_it(tmp_path: Path) -> None:
    assert volumes.mount(f"{tmp_path}:/data") == {
        "destination": "/data",
        "type": "bind",
        "source": str(tmp_path),
        "options": ["rbind", "rprivate"],
    }


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("ro", ["rbind", "rprivate", "rro"]),
        ("rw,noexec", ["rbind", "rprivate", "rw", "noexec"]),
        ("rslave", ["rbind", "rslave"]),
        ("ro,shared", ["rbind", "rro", "shared"]),
    ],
)
def test_words_of_a_volume_are_mount_options(tmp_path: Path, words: str, made: list[str]) -> None:
    found = volumes.mount(f"{tmp_path}:/data:{words}")["options"]
    assert found == made
    options.parse(found, "mounts[0].options", bind=True)


def test_a_relative_source_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert volumes.mount("./sub:/data")["source"] == str(tmp_path / "sub")
    assert volumes.mount("sub/../sub:/data")["source"] == str(tmp_path / "sub")


def refuse(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/tmp", "is not SOURCE:DESTINATION"),
        ("/tmp:", "is not SOURCE:DESTINATION"),
        ("/tmp:/a:ro:x", "is not SOURCE:DESTINATION"),
        ("data:/data", '"data" is a name and not a path'),
        ("/tmp:data", '"data" is not an absolute path'),
        ("/tmp:/", "root cannot be a volume"),
        ("/tmp:/a/..:ro", "root cannot be a volume"),
        ("/tmp:/a:z", '"z" is no option of a volume'),
        ("/no/where:/a", '"/no/where" is not there'),
    ],
)
def test_what_is_no_volume_is_refused(text: str, said: str) -> None:
    refuse(volumes.mount, text, said)


@pytest.mark.parametrize(
    ("text", "path", "access"),
    [
        ("/dev/null", "/dev/null", "rwm"),
        ("/dev/null:/dev/nothing", "/dev/nothing", "rwm"),
        ("/dev/null:r", "/dev/null", "r"),
        ("/dev/null:/dev/nothing:rw", "/dev/nothing", "rw"),
    ],
)
def test_a_device_is_as_it_is_on_the_host(text: str, path: str, access: str) -> None:
    found = volumes.device(text)
    assert (found.source, found.path, found.type, found.major, found.minor) == ("/dev/null", path, "c", 1, 3)
    assert found.rule() == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": access}
    assert found.node() == {
        "path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("null", "is not PATH"),
        ("/dev/null:nothing", "is not PATH"),
        ("/dev/null:/dev/x:q", "is not PATH"),
        ("/dev/no-such", "/dev/no-such: no such file or directory"),
        ("/etc", "/etc is not a device"),
    ],
)
def test_what_is_no_device_is_refused(text: str, said: str) -> None:
    refuse(volumes.device, text, said)
