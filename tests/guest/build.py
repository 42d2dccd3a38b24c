"""User Mode Linux built from Debian's newest linux-source: a static kernel that needs no KVM and nothing installed.

Debian's own user-mode-linux has neither PSI nor cpuset, and dies on CPUs with a large XSAVE area; from Linux 6.19 on
User Mode Linux has its seccomp mode and several CPUs. The result, linux.xz in the cache, may be kept and given to
other machines by the environment variable of tests/guest/kernels.py. Configuration: Documentation/kbuild/kconfig.rst.
"""

from __future__ import annotations

import lzma
import os
import re
import subprocess
import tempfile
from pathlib import Path

from lxcfs_py import errors
from tests.guest import kernels, packages

_SOURCES = (("trixie-backports", (6, 19)), ("forky", (6, 19)))
_CONFIG = Path(__file__).with_name("uml.config")
_MUST = (
    *("SMP", "PSI", "MEMCG", "CPUSETS", "CGROUP_PIDS", "BLK_CGROUP", "CFS_BANDWIDTH"),
    *("FUSE_FS", "OVERLAY_FS", "HOSTFS", "BLK_DEV_UBD"),
)
_NOT_NEEDED = (
    *("*.rst", "*.yaml", "*.svg", "*.dts", "*.dtsi", "*/tools/testing/*", "*/sound/*.[ch]"),
    *(f"*/drivers/{part}/*.[ch]" for part in ("gpu", "media", "staging", "infiniband", "net/ethernet", "net/wireless")),
)


def build() -> None:
    """Make kernels.BUILT, if it is not there."""
    if kernels.BUILT.exists():
        return
    packages.CACHE.mkdir(parents=True, exist_ok=True)
    packages.need(gcc="gcc", make="make", bc="bc", flex="flex", bison="bison", xz_utils="xz", perl="perl")
    packages.need(libc6_dev="/usr/include/stdlib.h")
    with tempfile.TemporaryDirectory(dir=packages.CACHE) as name:
        folder = Path(name)
        source = _source(folder)
        _configure(source)
        packages.say(f"building {source.name}, log in {packages.CACHE}/build.log")
        _make(source, "linux")
        packages.call("strip", "-s", str(source / "linux"))
        new = folder / "linux.xz"
        new.write_bytes(lzma.compress((source / "linux").read_bytes()))
        os.rename(new, kernels.BUILT)
    packages.say(f"{kernels.BUILT} is ready")


def _source(folder: Path) -> Path:
    package, suite = _package()
    packages.say(f"fetching {package} from {suite}")
    packages.unpack(package, folder, suite)
    (folder / "skip").write_text("".join(f"{pattern}\n" for pattern in _NOT_NEEDED))
    archive = next(folder.glob("usr/src/linux-source-*.tar.xz"))
    packages.call("tar", "-xJf", str(archive), "-C", str(folder), f"--exclude-from={folder / 'skip'}")
    return next(folder.glob("linux-source-*"))


def _package() -> tuple[str, str]:
    for suite, least in _SOURCES:
        try:
            return packages.newest(r"linux-source-[0-9.]+", suite, least), suite
        except errors.NotFound:
            continue
    raise errors.NotFound(f"no linux-source of {_SOURCES[0][1]} or later in {[suite for suite, _ in _SOURCES]}")


def _configure(source: Path) -> None:
    _make(source, "x86_64_defconfig")
    merge = ("scripts/kconfig/merge_config.sh", "-m", ".config", str(_CONFIG))
    packages.call(*merge, cwd=source, env={**os.environ, "ARCH": "um"})
    _make(source, "olddefconfig")
    got = (source / ".config").read_text()
    missing = [name for name in _MUST if not re.search(rf"^CONFIG_{name}=y$", got, re.MULTILINE)]
    if missing:
        raise errors.Unsupported(f"{source.name} cannot be configured with {' '.join(missing)}")


def _make(source: Path, target: str) -> None:
    command = ["nice", "make", "-C", str(source), "ARCH=um", f"-j{os.cpu_count()}", target]
    with open(packages.CACHE / "build.log", "ab") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise errors.Error(f"make {target} failed, see {log.name}")
