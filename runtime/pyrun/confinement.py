"""How a launched container is confined: `--cap-add`, `--cap-drop` and `--security-opt` as parts of config.json.

Words are Docker's. Without any of them a container has the three capabilities of `pyrun spec` and no new privileges,
which is less than Docker's. A command that is not root's gets what `--cap-add` names and no other, as with Podman: in
all five sets, since no file gives it any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lxcfs_py.errors import UsageError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import capabilities

if TYPE_CHECKING:
    from typing import Any

EVERY = "ALL"

_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def granted(usual: Sequence[str], added: Iterable[str], dropped: Iterable[str]) -> tuple[str, ...]:
    """The capabilities of a container that would have the `usual` ones. UsageError for a name that there is not."""
    more = tuple(map(capability, added))
    less = tuple(map(capability, dropped))
    kept = () if EVERY in less else capabilities.NAMES if EVERY in more else usual
    wanted = {*kept, *more} - {*less, EVERY}
    return tuple(name for name in capabilities.NAMES if name in wanted)


def capability(text: str) -> str:
    """ "net_admin", "NET_ADMIN" or "CAP_NET_ADMIN" -> "CAP_NET_ADMIN"; "all" -> "ALL". UsageError."""
    name = text.upper()
    if name in (EVERY, "CAP_ALL"):
        return EVERY
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in capabilities.NAMES:
        import difflib

        near = difflib.get_close_matches(name[4:], [known[4:] for known in capabilities.NAMES], 1)
        raise UsageError(f'"{text}" is not a capability', f"did you mean {near[0]}?" if near else "as NET_ADMIN")
    return name


def sets(names: Sequence[str], added: Iterable[str], *, root: bool) -> dict[str, list[str]]:
    """`process.capabilities`."""
    if root:
        return {name: list(names) for name in _SETS[:3]}
    wanted = {*map(capability, added)}
    own = [name for name in names if name in wanted or EVERY in wanted]
    return {"bounding": list(names), **dict.fromkeys(_SETS[1:], own)}


class Options(NamedTuple):
    """What `--security-opt` asks for."""

    no_new_privileges: bool = True
    hidden: bool = True
    """Whether there are masked and read-only paths."""
    seccomp: str = ""
    """A file of the host."""
    apparmor: str = ""


def change(text: str) -> dict[str, Any]:
    """One option as fields of Options. UsageError for one that there is not, or a value that it does not have."""
    name, separator, value = _split(text)
    if name not in _TAKE:
        raise UsageError(f'"{text}" is not known', f"one of {', '.join(_TAKE)}")
    if not value and (separator or name != "no-new-privileges"):
        raise UsageError(f'"{text}": a value is missing', f"{name}={_CHOICES.get(name, ('unconfined',))[-1]}")
    if name in _CHOICES and value not in ("", *_CHOICES[name]):
        raise UsageError(f'"{text}": must be {" or ".join(_CHOICES[name])}')
    return _TAKE[name](value)


def _split(text: str) -> tuple[str, str, str]:
    """Docker takes a colon for the sign of equality."""
    place = next((place for place, letter in enumerate(text) if letter in "=:"), len(text))
    return text[:place], text[place : place + 1], text[place + 1 :]


_CHOICES = {"no-new-privileges": ("true", "false"), "systempaths": ("unconfined",), "label": ("disable",)}

_TAKE: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "no-new-privileges": lambda value: {"no_new_privileges": value != "false"},
    "seccomp": lambda value: {"seccomp": "" if value == "unconfined" else value},
    "apparmor": lambda value: {"apparmor": "" if value == "unconfined" else value},
    "systempaths": lambda _: {"hidden": False},
    "label": lambda _: {},  # a container has none that was not asked for
}
