"""The device program of v2 decides as the list of rules does: run here by a machine of our own, over any rules."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from pyrun import devices
from pyrun.spec import DeviceRule

MKNOD, READ, WRITE = 1, 2, 4
BITS = {"m": MKNOD, "r": READ, "w": WRITE}
BLOCK, CHARACTER = 1, 2
MASK = 2**64 - 1


def allowed(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """What the kernel's machine makes of the instructions that `devices` uses; the context is read as three words."""
    context = (access << 16 | kind, major, minor)
    code = list(struct.iter_unpack("=BBhi", program))
    registers, at = [0] * 11, 0
    while True:
        opcode, names, offset, immediate = code[at]
        target, source = names & 15, names >> 4
        at += 1
        match opcode:
            case 0x61:
                registers[target] = context[offset // 4]
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = immediate & MASK
            case 0x57:
                registers[target] &= immediate & MASK
            case 0x77:
                registers[target] >>= immediate
            case 0x15 | 0x55:
                at += offset if (registers[target] == immediate & MASK) == (opcode == 0x15) else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"opcode {opcode:#x}")


def expected(rules: tuple[DeviceRule, ...], kind: int, access: int, major: int, minor: int) -> bool:
    """Of each bit the last rule that names it; denied where none does."""

    def one(bit: int) -> bool:
        for rule in reversed(rules):
            of = {"a": kind, "b": BLOCK, "c": CHARACTER}[rule.type]
            about_it = of == kind and rule.major in (None, major) and rule.minor in (None, minor)
            if about_it and any(BITS[letter] == bit for letter in rule.access):
                return rule.allow
        return False

    return all(one(bit) for bit in BITS.values() if access & bit)


number = st.none() | st.integers(0, 2)
rule = st.builds(
    DeviceRule,
    st.booleans(),
    st.sampled_from("abc"),
    number,
    number,
    st.sampled_from(["r", "w", "m", "rw", "wm", "rwm"]),
)


@given(st.lists(rule, max_size=6).map(tuple))
def test_the_program_decides_as_the_rules(rules: tuple[DeviceRule, ...]) -> None:
    program = devices.program(rules)
    for kind in (BLOCK, CHARACTER):
        for access in range(1, 8):
            for major, minor in ((0, 0), (1, 2), (2, 1), (2, 2)):
                asked = (kind, access, major, minor)
                assert allowed(program, *asked) is expected(rules, *asked), asked


@given(st.lists(rule, max_size=6).map(tuple))
@example((DeviceRule(True, "c", 1, 1), DeviceRule(False), DeviceRule(True, "b", 1, 1)))
def test_every_instruction_can_be_reached(rules: tuple[DeviceRule, ...]) -> None:
    """The kernel's verifier refuses a program with others."""
    code = list(struct.iter_unpack("=BBhi", devices.program(rules)))
    reached, todo = set(), [0]
    while todo:
        at = todo.pop()
        if at in reached:
            continue
        reached.add(at)
        opcode, _, offset, _ = code[at]
        if opcode != 0x95:
            todo += [at + 1] + ([at + 1 + offset] if opcode in (0x15, 0x55) else [])
    assert reached == set(range(len(code)))


def test_where_there_are_rules_all_else_is_denied() -> None:
    program = devices.program(devices.ordered((DeviceRule(True, "c", 10, 229, "rw"),)))
    assert allowed(program, CHARACTER, READ | WRITE, 10, 229)
    assert allowed(program, CHARACTER, READ | WRITE, 1, 3)
    assert allowed(program, CHARACTER, READ, 136, 77)
    assert allowed(program, BLOCK, MKNOD, 8, 0)
    assert not allowed(program, BLOCK, READ, 8, 0)
    assert not allowed(program, CHARACTER, WRITE, 1, 1)


def test_a_privileged_container_may_all() -> None:
    program = devices.program(devices.ordered((DeviceRule(True),)))
    assert allowed(program, BLOCK, READ | WRITE | MKNOD, 8, 0)


def test_no_rules_are_no_program() -> None:
    assert devices.ordered(()) == ()
