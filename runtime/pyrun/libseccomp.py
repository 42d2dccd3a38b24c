"""A seccomp profile -> the classic BPF program for seccomp(2), compiled by libseccomp.so.2 (seccomp_init(3)).

The binding and nothing else: what a profile may ask for is `seccomp`'s, where programs are kept and how they come into
force `filters`'s. As runc has it: a system call that this libseccomp does not know is left out, for profiles name what
newer kernels have; a rule that says the same as the default is left out; where two conditions of a rule are about one
argument, each makes a rule of its own; what is newer than the profile is answered as `enosys` says.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from lxcfs_py.errors import Error, Unsupported
from pyrun import enosys, seccomp
from pyrun.spec import Seccomp, SeccompArgument, SeccompRule

_LIBRARY = "libseccomp.so.2"
_UNKNOWN = -1
"""What an unknown name resolves to; other negative numbers stand for calls that only other architectures have."""
_EEXIST = 17
_UINT32 = 0xFFFFFFFF


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    """struct scmp_version."""

    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


class Library:
    """libseccomp, loaded."""

    def __init__(self, name: str = _LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(name)
        except OSError:
            hint = "apt-get install libseccomp2, or take linux.seccomp out of config.json"
            raise Unsupported(f"linux.seccomp: needs {name}, which is not there", hint) from None
        self._library.seccomp_version.restype = ctypes.POINTER(_Version)
        self._library.seccomp_init.restype = ctypes.c_void_p

    def version(self) -> str:
        found = self._library.seccomp_version().contents
        return f"{found.major}.{found.minor}.{found.micro}"

    def compile(self, profile: Seccomp) -> bytes:
        """The program: instructions of 8 bytes, struct sock_filter. Error names what the library refuses."""
        default = seccomp.action(profile.default_action, profile.default_errno)
        context = self._library.seccomp_init(ctypes.c_uint32(default))
        if not context:
            raise Unsupported(f"linux.seccomp.defaultAction: this kernel does not have {profile.default_action}")
        handle = ctypes.c_void_p(context)
        try:
            self._add_architectures(handle, profile.architectures)
            for index, rule in enumerate(profile.rules):
                action = seccomp.action(rule.action, rule.errno)
                if action != default:
                    self._add_rule(handle, f"linux.seccomp.syscalls[{index}]", rule, action)
            return (enosys.stub(self._known(profile)) if enosys.wanted(profile) else b"") + self._export(handle)
        finally:
            self._library.seccomp_release(handle)

    def _known(self, profile: Seccomp) -> list[enosys.Known]:
        """The largest number of a call that the profile names, by architecture."""
        names = [name.encode() for rule in profile.rules for name in rule.names]
        found = []
        for token in sorted({self._library.seccomp_arch_native() & _UINT32, *map(self._token, profile.architectures)}):
            numbers = (self._library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), name) for name in names)
            last = max(numbers, default=_UNKNOWN)
            found += [enosys.Known(token, last)] if last >= 0 else []  # others are none of this architecture's
        return found

    def _token(self, architecture: str) -> int:
        name = architecture.removeprefix("SCMP_ARCH_").lower().encode()
        return int(self._library.seccomp_arch_resolve_name(name)) & _UINT32

    def _add_architectures(self, context: ctypes.c_void_p, names: Sequence[str]) -> None:
        for index, name in enumerate(names):
            where = f"linux.seccomp.architectures[{index}]"
            token = self._token(name)
            if not token:
                raise Unsupported(f"{where}: {_LIBRARY} {self.version()} does not know {name}")
            result = self._library.seccomp_arch_add(context, ctypes.c_uint32(token))
            if result not in (0, -_EEXIST):
                raise _refused(where, result)

    def _add_rule(self, context: ctypes.c_void_p, where: str, rule: SeccompRule, action: int) -> None:
        alternatives = _alternatives(rule.args)
        for name in rule.names:
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            if number == _UNKNOWN:
                continue
            for conditions in alternatives:
                comparisons = (_Compare * len(conditions))(*map(_comparison, conditions))
                result = self._library.seccomp_rule_add_array(
                    context, ctypes.c_uint32(action), number, len(conditions), comparisons
                )
                if result not in (0, -_EEXIST):
                    raise _refused(f"{where}: {name}: {rule.action}", result)

    def _export(self, context: ctypes.c_void_p) -> bytes:
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            result = self._library.seccomp_export_bpf(context, descriptor)
            if result:
                raise _refused("linux.seccomp", result)
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)


def _alternatives(conditions: tuple[SeccompArgument, ...]) -> tuple[tuple[SeccompArgument, ...], ...]:
    """The sets of conditions of which one must hold whole."""
    if len({condition.argument for condition in conditions}) == len(conditions):
        return (conditions,)
    return tuple((condition,) for condition in conditions)


def _comparison(condition: SeccompArgument) -> _Compare:
    return _Compare(condition.argument, seccomp.OPERATORS[condition.operator], condition.value, condition.value_two)


def _refused(where: str, result: int) -> Error:
    return Error(f"{where}: libseccomp refuses it: {os.strerror(-result).lower()}", "does this kernel have the action?")
