"""Tables for people: columns as wide as their widest word, two spaces between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(f"{word:{width}}" for word, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
