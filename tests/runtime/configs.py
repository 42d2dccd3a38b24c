"""Configurations to start from, changed at one place: `with_value(config, "process.args[0]", 1)`."""

from __future__ import annotations

import copy
import itertools
import json
import re
from typing import Any

from pyrun import config, template
from pyrun.spec import Spec

REMOVED = object()


def steps(path: str) -> list[str | int]:
    """`mounts[2].options` -> ["mounts", 2, "options"]; `a["x.y"]` is the key x.y of a."""
    found = re.findall(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)', path)
    return [int(number) if number else quoted or name for quoted, number, name in found]


def with_value(base: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of `base` with `value` at `path`, objects and arrays made on the way; REMOVED takes a field away."""
    made = copy.deepcopy(base)
    place: Any = made
    *way, last = steps(path)
    for step, following in itertools.pairwise([*way, last]):
        if isinstance(step, int) and step == len(place):
            place.append([] if isinstance(following, int) else {})
        elif isinstance(step, str) and step not in place:
            place[step] = [] if isinstance(following, int) else {}
        place = place[step]
    if value is REMOVED:
        del place[last]
    elif isinstance(last, int) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return made


def load(**values: object) -> Spec:
    """The default configuration with values at paths, read."""
    made = template.default()
    for path, value in values.items():
        made = with_value(made, path, value)
    return config.load(json.dumps(made).encode())


def load_at(path: str, value: object) -> Spec:
    return load(**{path: value})
