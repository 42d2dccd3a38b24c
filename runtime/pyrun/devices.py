"""Which devices a container may use: linux.resources.devices as lines of v1's controller or as a program of v2.

config-linux.md, "Allowed Device list": rules count in their order, a later one over an earlier one. As with runc, where
there are rules all else is denied, and what every container needs is allowed after them. v2 has no file for devices:
the kernel asks a BPF_PROG_TYPE_CGROUP_DEVICE program at each open(2) and mknod(2) (cgroup-v2.rst, "Device controller";
struct bpf_cgroup_dev_ctx in include/uapi/linux/bpf.h). Pure: makes instructions, loads nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pyrun.spec import DeviceRule

DEFAULTS = (
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    DeviceRule(True, "c", 1, 3),
    DeviceRule(True, "c", 1, 5),
    DeviceRule(True, "c", 1, 7),
    DeviceRule(True, "c", 1, 8),
    DeviceRule(True, "c", 1, 9),
    DeviceRule(True, "c", 5, 0),
    DeviceRule(True, "c", 5, 2),
    DeviceRule(True, "c", 136, None),
)
"""What every container may use after its own rules: mknod of anything, null zero full random urandom tty ptmx,
terminals."""

_NOTHING = DeviceRule(False)
_ALL = "rwm"
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# Opcodes: include/uapi/linux/bpf_common.h and bpf.h
_LOAD_WORD = 0x61
_COPY, _SET = 0xBF, 0xB7
_AND, _SHIFT_RIGHT = 0x57, 0x77
_IF_EQUAL, _IF_OTHER = 0x15, 0x55
_EXIT = 0x95
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)
"""Registers; `_WANTED` are the bits of the access that no rule has allowed yet."""

Instruction = tuple[int, int, int, int, int]
"""Opcode, destination, source, offset, immediate."""


def ordered(rules: tuple[DeviceRule, ...]) -> tuple[DeviceRule, ...]:
    """All rules, the first of which is about everything; none where the configuration has none."""
    if not rules:
        return ()
    head = () if _total(rules[0]) else (_NOTHING,)
    return (*head, *rules, *DEFAULTS)


def line(rule: DeviceRule) -> str:
    """As devices.allow and devices.deny take it."""
    major, minor = ("*" if number is None else number for number in (rule.major, rule.minor))
    return f"{rule.type} {major}:{minor} {rule.access}"


def program(rules: tuple[DeviceRule, ...]) -> bytes:
    """The instructions that decide as `rules` do: of each kind of access the last rule that names it."""
    made = [
        (_LOAD_WORD, _TYPE, _CONTEXT, 0, 0),
        (_COPY, _WANTED, _TYPE, 0, 0),
        (_SHIFT_RIGHT, _WANTED, 0, 0, 16),
        (_AND, _TYPE, 0, 0, 0xFFFF),
        (_LOAD_WORD, _MAJOR, _CONTEXT, 4, 0),
        (_LOAD_WORD, _MINOR, _CONTEXT, 8, 0),
    ]
    for rule in reversed(rules):
        made += _instructions(rule)
        if _total(rule):
            break  # the verifier takes no instruction that is never reached
    else:
        made += _answer(False)
    return b"".join(map(_encoded, made))


def _total(rule: DeviceRule) -> bool:
    return (rule.type, rule.major, rule.minor) == ("a", None, None) and set(rule.access) == set(_ALL)


def _instructions(rule: DeviceRule) -> list[Instruction]:
    """What is skipped where the rule is about another device."""
    made = list(_verdict(rule))
    for register, value in ((_MINOR, rule.minor), (_MAJOR, rule.major), (_TYPE, _TYPES.get(rule.type))):
        if value is not None:
            made.insert(0, (_IF_OTHER, register, 0, len(made), value))
    return made


def _verdict(rule: DeviceRule) -> Iterator[Instruction]:
    access = sum(_ACCESS[letter] for letter in set(rule.access))
    if set(rule.access) == set(_ALL):
        yield from _answer(rule.allow)
    elif rule.allow:
        yield (_AND, _WANTED, 0, 0, ~access)
        yield (_IF_OTHER, _WANTED, 0, 2, 0)
        yield from _answer(True)
    else:
        yield (_COPY, _RESULT, _WANTED, 0, 0)
        yield (_AND, _RESULT, 0, 0, access)
        yield (_IF_EQUAL, _RESULT, 0, 2, 0)
        yield from _answer(False)


def _answer(allowed: bool) -> list[Instruction]:
    return [(_SET, _RESULT, 0, 0, int(allowed)), (_EXIT, 0, 0, 0, 0)]


def _encoded(instruction: Instruction) -> bytes:
    """struct bpf_insn; the registers' halves of their byte change places with the byte order."""
    code, destination, source, offset, immediate = instruction
    little = struct.pack("=H", 1)[0] == 1
    registers = destination | source << 4 if little else destination << 4 | source
    return struct.pack("=BBhi", code, registers, offset, immediate)
