"""A container image made here, for engines that would pull one: busybox and this machine's own `free`.

In the form of `docker save` (a tar of layers, a configuration and manifest.json), which `docker load` and
`ctr images import` take. busybox's `free` asks sysinfo(2), which no file in /proc can answer for.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

NAME = "docker.io/lxt/busybox:1"

_APPLETS = ("cat", "cut", "grep", "head", "id", "ls", "ps", "pwd", "sh", "sleep", "stat", "stty", "true", "yes")
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp")
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nlxt:x:1000:1000::/:/bin/sh\n",
    "etc/group": "root:x:0:\nlxt:x:1000:\n",
}


def save(path: Path, name: str = NAME, command: Sequence[str] = ("sh",)) -> None:
    """Write the image; skips where a program that it needs is missing."""
    layer = _layer()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": command},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    file = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, content in ((file, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(tar, member, content)


def _layer() -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for directory in _DIRECTORIES:
            made = tarfile.TarInfo(directory)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(made)
        for program in ("busybox", "free"):
            source = _program(program)
            _add(tar, f"bin/{program}", source.read_bytes(), 0o755)
            for library in _libraries(source):
                _add(tar, str(library).lstrip("/"), library.read_bytes(), 0o755)
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in _TEXTS.items():
            _add(tar, name, text.encode())
    return written.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    made = tarfile.TarInfo(name)
    made.size, made.mode = len(content), mode
    tar.addfile(made, io.BytesIO(content))


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return Path(found)


def _libraries(program: Path) -> list[Path]:
    """What ldd(1) tells of, by absolute path; nothing of a static program."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(word) for line in told.splitlines() for word in line.split() if word.startswith("/")]
