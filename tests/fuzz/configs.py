"""config.json as nobody would write it, as text and as a well-formed one with other values at some places; and
config.toml."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any, cast

from lxcfs_py import oci, policy
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.errors import Error, ParseError, SpecError, Unsupported
from lxcfs_py.host import Host
from pyrun import config, planning, template
from tests.fuzz.draw import Draw
from tests.fuzz.machines import Files

_FACTS = planning.Facts(versions=dict.fromkeys(("memory", "cpu", "cpuset", "pids", "io", "hugetlb"), 2))
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 1 << 64, 0.5, "", "/", "a/../b", "\0", "é\ud800", [], {}, [[]], {"": 0})
_WORDS = (*("memory", "resources", "linux", "limit", "swap", "cpu", "quota", "period", "cpus", "devices", "hooks"),)


def load(data: bytes) -> None:
    """A Spec and a plan, or SpecError or Unsupported."""
    draw = Draw(data)
    text = draw.rest() if draw.byte() & 1 else json.dumps(_changed(draw)).encode()
    with contextlib.suppress(SpecError, Unsupported):
        planning.make(config.load(text), "c1", "/bundle", _FACTS)


def _changed(draw: Draw) -> Any:
    """The default configuration with values at places: each a walk down, and what to put there."""
    made = copy.deepcopy(_DEFAULT)
    while draw.more():
        place: Any = made
        for _ in range(draw.byte() % 8):
            children = list(place.values() if isinstance(place, dict) else place)
            inner = [child for child in children if isinstance(child, dict | list)]
            if not inner:
                break
            place = inner[draw.byte() % len(inner)]
        kind = draw.byte()
        value = draw.number() if kind & 128 else draw.text().decode("latin-1") if kind & 64 else _VALUES[kind % 15]
        if isinstance(place, dict):
            keys = [*place, *_WORDS]
            place[keys[draw.byte() % len(keys)]] = copy.deepcopy(value)
        elif place:
            place[draw.byte() % len(place)] = copy.deepcopy(value)
    return made


def seeds() -> Iterator[bytes]:
    yield b"\0"
    yield b"\1" + json.dumps(_DEFAULT).encode()
    yield from (b"\1" + json.dumps(_VALUES[kind]).encode() for kind in range(len(_VALUES)))
    yield from (bytes([0, depth, step, kind, step]) for depth in range(4) for step in range(8) for kind in range(15))


def choose(data: bytes) -> None:
    """Policies, or a ParseError; an annotation is a choice or an Error."""
    draw = Draw(data)
    name, value = (draw.text().decode("utf-8", "surrogateescape") for _ in range(2))
    chosen: policy.Choices = {}
    with contextlib.suppress(Error):
        chosen = policy.annotated({f"{policy.ANNOTATION}{name}": value})
    with contextlib.suppress(ParseError):
        found = policy.parse("config.toml", draw.rest())
        assert isinstance(found.of("/lxc.payload.c1", chosen), Policy)


def policy_seeds() -> Iterator[bytes]:
    texts = (
        b"",
        b'[default]\ncpus = "cpuset"\nswap = false\nzswap = true\nloadavg = true\nuptime = "host"\n',
        b'[[container]]\ncgroup = "/lxc.payload.*"\nswap = false\n[[container]]\ncgroup = "/[a-c]?/*"\n',
        b'default.cpus = "host"\ncontainer = [{cgroup = "*", uptime = "container"}]\n',
        b"[default]\nswap = 1979-05-27T07:32:00Z\n",
    )
    yield from (b"\4cpus\5quota" + text for text in texts)
    yield b"\4swap\5false"


def hook(data: bytes) -> None:
    """What an OCI hook is told: its own lines, or an Error."""
    with contextlib.suppress(Error, OSError):
        oci.note(cast(Host, Files({})), "/nowhere", data)


def hook_seeds() -> Iterator[bytes]:
    state = {"ociVersion": "1.0.2", "id": "c1", "status": "creating", "pid": 4242, "bundle": "/nowhere"}
    yield json.dumps(state).encode()
    yield json.dumps(state | {"annotations": {f"{policy.ANNOTATION}swap": "false"}}).encode()


_DEFAULT = template.default()
