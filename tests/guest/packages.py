"""Debian packages for the guest: installed where a program is missing, or only unpacked into a folder.

Follows apt-get(8), apt-cache(8) and sources.list(5). Suites other than the machine's own keep their lists and
downloads in a folder apart, so that the machine's apt never sees them.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lxcfs_py import errors

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lxcfs-py" / "guest"
_QUIET = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def say(text: str) -> None:
    """One line of progress on standard error."""
    print(f"guest: {text}", file=sys.stderr, flush=True)


def call(*command: str, cwd: Path | None = None, env: Mapping[str, str] = _QUIET) -> str:
    """Standard output of a command; its output and status are the error if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise errors.Error(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def need(**packages: str) -> None:
    """Install what is missing: `need(package="program or path")`, underscores in names for hyphens."""
    missing = [
        package.replace("_", "-")
        for package, what in packages.items()
        if not (os.path.exists(what) if "/" in what else shutil.which(what))
    ]
    if not missing:
        return
    if os.geteuid() != 0:
        raise errors.Unsupported(f"Debian packages missing: {' '.join(missing)}", "install them as root")
    say(f"installing {' '.join(missing)}")
    install = ("apt-get", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install", *missing)
    try:
        call(*install)
    except errors.Error:
        call("apt-get", "update")
        call(*install)


def newest(pattern: str, suite: str | None = None, least: tuple[int, ...] = ()) -> str:
    """The package with the highest version in its name among those whose whole name matches."""
    options = _options(suite)
    for update in (False, True):
        if update:
            call("apt-get", *options, "update")
        lines = call("apt-cache", *options, "search", "--names-only", f"^{pattern}$").splitlines()
        names = [name for line in lines if re.fullmatch(pattern, name := line.split()[0]) and _version(name) >= least]
        if names:
            return max(names, key=_version)
    raise errors.NotFound(f"no package {pattern} in {suite or 'the configured suites'}")


def unpack(package: str, target: Path, suite: str | None = None) -> None:
    """Download a package and unpack it into a folder, without installing it."""
    options = _options(suite)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            call("apt-get", *options, "download", package, cwd=Path(folder))
        except errors.Error:
            call("apt-get", *options, "update")
            call("apt-get", *options, "download", package, cwd=Path(folder))
        call("dpkg", "-x", str(next(Path(folder).glob("*.deb"))), str(target))


def once(folder: Path, make: Callable[[Path], object]) -> None:
    """Make a folder once: aside, under a lock, renamed into place when it is whole."""
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        new = Path(f"{folder}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        make(new)
        os.rename(new, folder)


def _version(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))


def _options(suite: str | None) -> list[str]:
    options = ["-o", "APT::Sandbox::User=root"]
    if suite is None:
        return options
    folder = CACHE / "apt" / suite
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] http://deb.debian.org/debian {suite} main\n")
    places = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
    }
    return options + [word for key, value in places.items() for word in ("-o", f"{key}={value}")]
