"""Text of a file -> fields with names, so that one difference shows as one and not as another file.

Pure. Follows proc(5) for the layouts. Where a file is not there, it has no fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

Fields = dict[str, str]


def meminfo(text: str) -> Fields:
    """Also of the memory of a node, whose lines begin with `Node 0`."""
    lines = [line.split(":") for line in text.splitlines()]
    return {"(lines)": " ".join(name for name, _ in lines)} | {name: value.strip() for name, value in lines}


def cpuinfo(text: str) -> Fields:
    """By the place of the block, so that a renumbering shows as one difference and not as all."""
    fields = {}
    for index, block in enumerate(text.strip().split("\n\n")):
        for line in block.splitlines():
            name, _, value = line.partition(":")
            fields[f"{index} {name.strip()}"] = value.strip()
    return fields


_STAT_COLUMNS = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]


def stat(text: str) -> Fields:
    fields = {"(lines)": " ".join(line.split()[0] for line in text.splitlines())}
    for line in text.splitlines():
        name, *values = line.split()
        if name.startswith("cpu"):
            fields |= {f"{name} {column}": value for column, value in zip(_STAT_COLUMNS, values, strict=True)}
        elif name in ("intr", "softirq"):
            fields |= {f"{name} columns": f"{len(values)}", f"{name} sum": values[0], f"{name} each": _each(values)}
        else:
            fields[name] = " ".join(values)
    return fields


def _each(values: list[str]) -> str:
    """All but the first; "0" where they all are."""
    return " ".join(values[1:]) if any(value != "0" for value in values[1:]) else "0"


def columns(*names: str) -> Callable[[str], Fields]:
    """A file of one line."""
    return lambda text: dict(zip(names, text.split(), strict=True))


def loadavg(text: str) -> Fields:
    *averages, tasks, last = text.split()
    running, total = tasks.split("/")
    return dict(zip(("1min", "5min", "15min"), averages, strict=True)) | {
        "running": running,
        "total": total,
        "last": last,
    }


_DISK_COLUMNS = [
    *("rios", "rmerges", "rsectors", "rticks", "wios", "wmerges", "wsectors", "wticks", "inflight", "ticks", "queue"),
    *("dios", "dmerges", "dsectors", "dticks", "fios", "fticks"),
]


def diskstats(text: str) -> Fields:
    """Only of devices that did anything."""
    rows = [line.split() for line in text.splitlines()]
    fields: Fields = {}
    for _, _, name, *values in (row for row in rows if set(row[3:]) != {"0"}):
        fields |= {f"{name} {column}": value for column, value in zip(_DISK_COLUMNS, values, strict=False)}
    return fields


def swaps(text: str) -> Fields:
    head, *rows = [" ".join(line.split()) for line in text.splitlines()]
    return {"(head)": head, "(rows)": "; ".join(rows)}


def by_name(text: str) -> Fields:
    """Lines of a name and one value."""
    return dict(line.split(" ", 1) for line in text.splitlines())


def slabinfo(text: str) -> Fields:
    lines = text.splitlines()
    return {"(head)": "\n".join(lines[:2]), "(slabs)": "\n".join(lines[2:])}


def partitions(text: str) -> Fields:
    head, *rows = [line.split() for line in text.splitlines() if line]
    return {"(head)": " ".join(head)} | {row[-1]: " ".join(row) for row in rows}


def pressure(text: str) -> Fields:
    fields: Fields = {}
    for line in text.splitlines():
        which, *pairs = line.split()
        fields |= {f"{which} {name}": value for name, value in (pair.split("=") for pair in pairs)}
    return fields


def tree(text: str) -> Fields:
    """What is below a directory, as looks.READER has it: path -> text, target of a link, or `(directory)`."""
    found: Fields = json.loads(text)
    return found


FILES: Mapping[str, Callable[[str], Fields]] = {
    "cgroup": tree,
    "proc/cpuinfo": cpuinfo,
    "proc/diskstats": diskstats,
    "proc/loadavg": loadavg,
    "proc/meminfo": meminfo,
    "proc/partitions": partitions,
    "proc/pressure/cpu": pressure,
    "proc/pressure/io": pressure,
    "proc/pressure/irq": pressure,
    "proc/pressure/memory": pressure,
    "proc/slabinfo": slabinfo,
    "proc/stat": stat,
    "proc/swaps": swaps,
    "proc/uptime": columns("up", "idle"),
    "proc/vmstat": by_name,
    "sys/block": tree,
    "sys/devices/system/cpu": tree,
    "sys/devices/system/node": tree,
}
"""All that either daemon serves; of a directory, all that is below it."""
