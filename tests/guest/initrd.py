"""The archive that a guest's kernel starts from: busybox, modules, the guest's scripts and the command.

The newc format of Documentation/driver-api/early-userspace/buffer-format.rst; archives may be concatenated, so the
large part that depends only on the kernel is made once and the small part for each run. A module's dependencies and
aliases are read from its .modinfo section, so depmod is not needed.
"""

from __future__ import annotations

import lzma
import re
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FILE, _PROGRAM, _DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
_SCRIPTS = Path(__file__).parent

FIRST = ("virtio_pci", "virtio_blk", "virtio_console", "virtiofs", "overlay", "fuse")
"""Modules loaded before the guest's root is there."""
LATER = (
    *("tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag"),
    *("loop", "veth", "bridge", "br_netfilter", "dummy", "ipv6", "unix_diag", "inet_diag", "nf_conntrack_netlink"),
    *("nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat", "nft_compat", "nft_reject_inet"),
    *("xt_MASQUERADE", "xt_conntrack", "xt_comment", "xt_addrtype", "xt_tcpudp", "xt_nat"),
    *("sch_tbf", "sch_htb", "sch_ingress", "sch_fq_codel"),
)
"""Modules loaded when the kernel asks for one of their aliases."""

Entry = tuple[str, int, bytes]


@dataclass
class _Modules:
    """Modules by name, with the order in which each one's dependencies load."""

    folder: Path
    texts: dict[str, bytes] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.folder.rglob("*.ko*"):
            self.files[path.name.split(".ko")[0].replace("-", "_")] = path

    def add(self, name: str) -> list[str]:
        """Take a module and what it needs; empty where the kernel has it built in or not at all."""
        if name in self.files and name not in self.orders:
            text = self.files[name].read_bytes()
            self.texts[name] = lzma.decompress(text) if self.files[name].suffix == ".xz" else text
            order: list[str] = []
            for needed in self.info(name, "depends"):
                order += [one for word in needed.split(",") for one in self.add(word.replace("-", "_"))]
            self.orders[name] = [*dict.fromkeys(order), name]
        return self.orders.get(name, [])

    def info(self, name: str, key: str) -> list[str]:
        """The values of one key of .modinfo."""
        found = re.findall(rb"\0%s=([^\0]*)(?=\0)" % key.encode(), self.texts[name])
        return [value.decode() for value in found]

    def aliases(self) -> str:
        """Lines `pattern module...` for modprobe.sh."""
        lines = []
        for name, order in self.orders.items():
            for alias in (name, *self.info(name, "alias")):
                lines.append(f"{alias.replace('-', '_')} {' '.join(order)}\n")
        return "".join(lines)


def kernel_part(modules: Path | None) -> bytes:
    """Busybox, and the modules where the kernel has any: the same for every run of one kernel."""
    entries: list[Entry] = [
        (name, _DIRECTORY, b"")
        for name in ("bin", "dev", "proc", "sys", "host", "overlay", "newroot", "stash", "modules", "guest")
    ]
    entries.append(("bin/busybox", _PROGRAM, Path("/bin/busybox").read_bytes()))
    if modules is not None:
        found = _Modules(modules)
        first = dict.fromkeys(one for name in FIRST for one in found.add(name))
        for name in LATER:
            found.add(name)
        entries += [(f"modules/{name}.ko", _FILE, text) for name, text in found.texts.items()]
        entries.append(("modules/first", _FILE, "".join(f"{name}\n" for name in first).encode()))
        entries.append(("modules/alias", _FILE, found.aliases().encode()))
    return archive(entries)


def run_part(settings: Mapping[str, str], command: Sequence[str], folder: str, environ: Mapping[str, str]) -> bytes:
    """The guest's scripts, their settings, and the command as a script of its own."""
    entries: list[Entry] = [
        ("init", _PROGRAM, (_SCRIPTS / "init.sh").read_bytes()),
        ("guest/system", _PROGRAM, (_SCRIPTS / "system.sh").read_bytes()),
        ("guest/modprobe", _PROGRAM, (_SCRIPTS / "modprobe.sh").read_bytes()),
        ("guest/settings", _FILE, "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items()).encode()),
        ("guest/command", _PROGRAM, _script(command, folder, environ).encode()),
    ]
    return archive(entries)


def _script(command: Sequence[str], folder: str, environ: Mapping[str, str]) -> str:
    variables = (f"{name}={value}" for name, value in environ.items() if re.fullmatch(r"\w+", name))
    return f"#!/bin/sh\ncd {shlex.quote(folder)}\nexec env -i {shlex.join([*variables, *command])}\n"


def archive(entries: Iterable[Entry]) -> bytes:
    """A newc archive of (name, mode, content)."""
    parts = bytearray()
    for inode, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        encoded = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        parts += b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        parts += b"\0" * (-len(parts) % 4) + content
        parts += b"\0" * (-len(parts) % 4)
    return bytes(parts)
