"""Which policies are in force, for all processes of an instance, those that start later, and `lxcfs-py status`.

The file is written whole; then `control.Control.generation` is raised. Who has seen another generation reads the file
again: to see that nothing changed costs a look at memory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lxcfs_py.errors import ParseError
from lxcfs_py.policy import Policies, Rule, Source
from lxcfs_py.rundir.control import Control
from lxcfs_py.rundir.mapped import replace


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was accepted last."""

    source: Source
    found: bool
    """Whether there was such a file; what is built in and the flags are in force without one."""
    loaded: float
    """Seconds since the epoch."""
    policies: Policies
    refused: str = ""
    """Why the file as it was at the last reload is not in force; "" where it is."""


def write(directory: str, configuration: Configuration) -> None:
    """Make a configuration known."""
    replace(_path(directory), json.dumps(asdict(configuration)).encode() + b"\n")


def announce(directory: str) -> None:
    """Have every process read what was written. Only the supervisor does."""
    Control(directory).generation[0] += 1


def read(directory: str) -> Configuration | None:
    """What is in force; None where nobody serves."""
    path = _path(directory)
    try:
        with open(path, "rb") as file:
            raw = json.load(file)
        default, rules, flags = raw.pop("policies")
        policies = Policies(default, tuple(Rule(*rule) for rule in rules), flags)
        return Configuration(**raw | {"source": Source(*raw["source"]), "policies": policies})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParseError(path, None, f"not a configuration of lxcfs-py: {error}") from None


def _path(directory: str) -> str:
    return f"{directory}/configuration.json"
