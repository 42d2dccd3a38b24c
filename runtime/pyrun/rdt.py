"""`linux.intelRdt` of config.json: which share of caches and memory bandwidth a container's group of resctrl has.

Follows runtime-spec config-linux.md, "IntelRdt", 1.0 to 1.3, and the kernel's filesystems/resctrl.rst. Imported only
where a configuration has it; `resctrl` makes the groups.
"""

from __future__ import annotations

from lxcfs_py.errors import SpecError, UsageError
from pyrun.fields import Fields
from pyrun.spec import IntelRdt

_BANDWIDTH = "MB:"
DEFAULT = "/"
"""The group that everything is in which is in no other."""

_HINT = "RESOURCE:ID=VALUE;... as in /sys/fs/resctrl/schemata, which names what this machine has"


def read(fields: Fields) -> IntelRdt:
    """SpecError."""
    group = fields.text("closID") or ""
    if group != DEFAULT and ("/" in group or group in (".", "..") or not (group.isprintable() or not group)):
        raise SpecError(fields.at("closID"), f'"{group}" is not the name of a directory')
    cache = _lines(fields.text("l3CacheSchema") or "", fields.at("l3CacheSchema"))
    bandwidth = _bandwidth(fields.text("memBwSchema") or "", fields.at("memBwSchema"))
    further = fields.texts("schemata")
    for index, line in enumerate(further):
        _check(line, f"{fields.at('schemata')}[{index}]")
    return IntelRdt(
        group=group,
        schemata=(*combined(cache, bandwidth), *further),
        monitoring=any(fields.flag(name) for name in ("enableMonitoring", "enableCMT", "enableMBM")),
    )


def combined(cache: str, bandwidth: str) -> tuple[str, ...]:
    """Lines for the schemata file; what `cache` says of bandwidth counts where `bandwidth` says nothing."""
    lines = [line for line in cache.split("\n") if line and not (bandwidth and line.startswith(_BANDWIDTH))]
    return (*lines, *([bandwidth] if bandwidth else []))


def of_options(cache: str, bandwidth: str) -> tuple[str, ...]:
    """Lines for the schemata file, of the options of `update`, each "" where it is left out. UsageError."""
    try:
        return combined(_lines(cache, "--l3-cache-schema"), _bandwidth(bandwidth, "--mem-bw-schema"))
    except SpecError as error:
        raise UsageError(f"update: {error.message}", error.hint) from None


def _lines(text: str, where: str) -> str:
    for line in text.split("\n") if text else ():
        _check(line, where)
    return text


def _bandwidth(text: str, where: str) -> str:
    if text and (not text.startswith(_BANDWIDTH) or "\n" in text):
        raise SpecError(where, f'must be one line that begins with "{_BANDWIDTH}", not "{text}"', _HINT)
    return _lines(text, where)


def _check(line: str, where: str) -> None:
    """`RESOURCE:ID=VALUE;ID=VALUE...`."""
    resource, colon, values = line.partition(":")
    pairs = [pair.partition("=") for pair in values.split(";")]
    if not colon or not resource.strip() or not all(key.strip() and value.strip() for key, _, value in pairs):
        raise SpecError(where, f'must be as "L3:0=f;1=f", not "{line}"', _HINT)
