"""What was found, as a page for people: tests/golden/peer/lxcfs-VERSION-HIERARCHY.md.

Numbers move from run to run, so a page says whose they are. Rows that do not differ at every look have no such words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.peers import looks
from tests.peers.differences import Difference
from tests.peers.looks import Found

FOLDER = Path(__file__).parents[1] / "golden" / "peer"

_HEAD = """\
# LXCFS {version} and lxcfs-py on cgroup {on}

One caller in one container reads every file through both, while the container and a neighbour outside of it compute,
fork, hold memory and write to a disk. tests/system/test_peer_lxcfs.py fails where a field differs that is not listed
here, where one that is listed does not differ, and where this page, which it writes with `--update-golden`, is stale.

In the columns: `the host's` is the number that a process outside of containers reads; `the container's` is another.
A file that one of the two does not serve is `not there`.
"""


def page(version: str, on: str, files: Mapping[str, tuple[Found, Sequence[Difference]]]) -> str:
    """`files`: for each file what differed, and its rows."""
    always, sometimes, same = [], [], []
    for file, (found, rows) in files.items():
        for row in rows:
            fields = [field for field in found.differ if row.covers(field)]
            if row.sometimes:
                sometimes.append(_line(file, f"`{row.field}`", row.reason))
            elif fields:
                theirs, ours = _forms(fields, found)
                always.append(_line(file, f"`{row.field}`", row.theirs or theirs, row.ours or ours, row.reason))
        if not rows and found.looks[-1].before:
            same.append(file)
    return "\n".join(
        [
            _HEAD.format(version=version, on=on),
            *_table(("file", "field", "LXCFS", "lxcfs-py", "why"), always),
            "\nDiffer at times, by what the machine happens to do:\n",
            *_table(("file", "field", "why"), sometimes),
            f"\nDo not differ: {', '.join(same)}.\n",
        ]
    )


def _forms(fields: Iterable[str], found: Found) -> tuple[str, str]:
    """Whose the numbers are. The host's may move while it is read, so that once is enough."""
    pairs = [look.forms(field) for field in fields for look in found.looks]
    theirs, ours = (Counter(forms) for forms in zip(*pairs, strict=True))
    return looks.HOSTS if looks.HOSTS in theirs else _most(theirs), _most(ours)


def _most(counts: Counter[str]) -> str:
    """What most are, of those that say something."""
    told = counts.keys() & {looks.HOSTS, looks.CONTAINERS}
    return max(sorted(told or counts), key=lambda form: counts[form])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: tuple[str, ...], lines: list[str]) -> list[str]:
    return [_line(*head), _line(*("---" for _ in head)), *lines]
