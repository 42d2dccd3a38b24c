"""A name for a cgroup's path, fit for a file: `Cgroup.key`, also of its directory in the by-container tree. No I/O."""

from __future__ import annotations

import os

ROOT = "-"
"""The key of the root cgroup."""
LONGEST = 200
"""Characters of a key that tells its path."""
WITHOUT_HASH = 160
"""Characters of a longer path that its key tells."""
_SPELLINGS = {
    byte: f"\\x{byte:02x}" for byte in range(256) if byte > 127 or not (chr(byte).isalnum() or chr(byte) in ":_.")
} | {ord("/"): "-"}
_DOT = f"\\x{ord('.'):02x}"


def escaped(path: str) -> str:
    """A cgroup path as one file name: `/a/b` -> `a-b`, in systemd's way: `-`, a leading dot and odd bytes as `\\xNN`.

    What would be longer than 200 characters ends in a hash instead, so that different paths have different names.
    """
    name = spelled(path)
    if len(name) <= LONGEST:
        return name
    from hashlib import blake2b

    return f"{name[:WITHOUT_HASH]}-{blake2b(os.fsencode(path.strip('/')), digest_size=16).hexdigest()}"


def spelled(path: str) -> str:
    """The same however long it is."""
    plain = path.strip("/")
    if not plain:
        return ROOT
    name = os.fsencode(plain).decode("latin-1").translate(_SPELLINGS)
    return f"{_DOT}{name[1:]}" if name.startswith(".") else name


def unescaped(key: str) -> str:
    """The path that has this key, if it is a short one's."""
    if key == ROOT:
        return "/"
    import re  # nobody pays for it who only makes keys

    raw = re.sub(r"\\x([0-9a-f]{2})", lambda byte: chr(int(byte[1], 16)), key.replace("-", "/"))
    return "/" + os.fsdecode(raw.encode("latin-1", "replace"))
