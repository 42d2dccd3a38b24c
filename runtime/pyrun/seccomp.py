"""`linux.seccomp` of config.json -> a profile: which system calls a container's processes may make.

Follows runtime-spec config-linux.md, "Seccomp", and seccomp(2). What is asked for is checked here as far as the text
goes; which system calls and architectures there are is known to libseccomp (`libseccomp`), which actions and flags to
the kernel: there the filter is refused. The numbers of the actions are include/uapi/linux/seccomp.h's.
"""

from __future__ import annotations

from lxcfs_py.errors import SpecError
from pyrun import spec
from pyrun.fields import Fields

NOTIFY = "SCMP_ACT_NOTIFY"

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    NOTIFY: 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}

_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
"""The actions whose lower 16 bits are a number."""

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}

_DEFAULT_FLAGS = ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)
"""Where config.json has no `flags`, as runc has it."""

OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
"""libseccomp's numbers (seccomp_rule_add(3))."""

ARCHITECTURES = (
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
)

_EPERM = 1
_LARGEST_ERRNO = 4095
_UINT64 = 2**64 - 1


def profile(fields: Fields) -> spec.Seccomp:
    """What `linux.seccomp` asks for. SpecError."""
    action = fields.choice("defaultAction", ACTIONS)
    rules = fields.each("syscalls", _rule)
    made = spec.Seccomp(
        default_action=action,
        default_errno=_errno(fields, "defaultErrnoRet", action),
        architectures=_each_of(fields, "architectures", ARCHITECTURES),
        flags=_each_of(fields, "flags", FLAGS) if fields.has("flags") else _DEFAULT_FLAGS,
        rules=rules,
        listener_path=fields.path("listenerPath") if fields.text("listenerPath") else "",
        listener_metadata=fields.text("listenerMetadata") or "",
    )
    _check_listener(made, fields)
    return made


def notifies(asked: spec.Seccomp) -> bool:
    """Whether some system call is to be answered by the listener."""
    return any(rule.action == NOTIFY for rule in asked.rules)


def flags(asked: spec.Seccomp) -> int:
    """For seccomp(2), without what it wants with a listener."""
    return sum(FLAGS[name] for name in set(asked.flags))


def word(action: str) -> str:
    """An action for a person: `kill process`."""
    return action.removeprefix("SCMP_ACT_").replace("_", " ").lower()


def action(name: str, errno: int) -> int:
    """The value that a filter returns for an action."""
    return ACTIONS[name] | (errno if name in _WITH_ERRNO else 0)


def _rule(fields: Fields) -> spec.SeccompRule:
    names = fields.texts("names")
    if not names or not all(names):
        raise SpecError(fields.at("names"), "must name system calls")
    action = fields.choice("action", ACTIONS)
    return spec.SeccompRule(
        names=names, action=action, errno=_errno(fields, "errnoRet", action), args=fields.each("args", _argument)
    )


def _argument(fields: Fields) -> spec.SeccompArgument:
    return spec.SeccompArgument(
        argument=fields.need("index", 0, 5),
        operator=fields.choice("op", OPERATORS),
        value=fields.need("value", 0, _UINT64),
        value_two=fields.number("valueTwo", 0, _UINT64) or 0,
    )


def _errno(fields: Fields, name: str, action: str) -> int:
    """What the action returns; 0 for one that returns nothing, which must not be told what."""
    number = fields.number(name, 0, _LARGEST_ERRNO)
    if action not in _WITH_ERRNO:
        if number is not None:
            raise SpecError(fields.at(name), f"is only for {' and '.join(_WITH_ERRNO)}, not {action}")
        return 0
    return _EPERM if number is None else number


def _each_of(fields: Fields, name: str, known: tuple[str, ...] | dict[str, int]) -> tuple[str, ...]:
    for index, text in enumerate(found := fields.texts(name)):
        if text not in known:
            raise SpecError(f"{fields.at(name)}[{index}]", f'"{text}" is none of {", ".join(known)}')
    return found


def _check_listener(made: spec.Seccomp, fields: Fields) -> None:
    if made.default_action == NOTIFY:
        raise SpecError(fields.at("defaultAction"), f"must not be {NOTIFY}: nobody could answer before there is one")
    for index, rule in enumerate(made.rules):
        if rule.action == NOTIFY and "sendmsg" in rule.names:
            # runc refuses write in its place: whoever hands the listener over needs it to do so.
            where = f"{fields.at('syscalls')}[{index}].names"
            raise SpecError(where, f"sendmsg must not be for {NOTIFY}: the listener is handed over with it")
    if made.listener_metadata and not made.listener_path:
        raise SpecError(fields.at("listenerMetadata"), "needs a listenerPath beside it")
    if notifies(made) and not made.listener_path:
        raise SpecError(fields.at("listenerPath"), f"is missing, and a rule has {NOTIFY}")
