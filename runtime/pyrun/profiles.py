"""Docker's profiles of system calls -> `linux.seccomp` of config.json.

What Docker and Podman have as a file is OCI's object with two things more: a table of architectures, and rules that are
for some capabilities, architectures and kernels alone. What is neither's is left as it is, for `config` to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lxcfs_py.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

Version = tuple[int, int]
"""Of a kernel."""


def of_docker(values: Mapping[str, Any], names: Sequence[str], machine: str, kernel: Version) -> dict[str, Any]:
    """`linux.seccomp` of a file that has it, or Docker's form of it, where rules are for some capabilities,
    architectures and kernels: for a container with these capabilities, on this machine (as uname(2) has it)."""
    made = {name: value for name, value in values.items() if name not in ("archMap", "syscalls")}
    architectures = _architectures(values.get("archMap") or (), machine)
    if architectures:
        made["architectures"] = architectures
    rules = values.get("syscalls")
    if isinstance(rules, list):
        kept = [rule for rule in rules if not isinstance(rule, dict) or _is_for(rule, names, machine, kernel)]
        made["syscalls"] = [_plain(rule) if isinstance(rule, dict) else rule for rule in kept]
    elif rules is not None:
        made["syscalls"] = rules
    return made


_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("386", "SCMP_ARCH_X86"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}
"""What Go and libseccomp call a machine."""


def _architectures(table: Sequence[Mapping[str, Any]], machine: str) -> list[str]:
    own = _MACHINES.get(machine, ("", ""))[1]
    for row in table:
        if row.get("architecture") == own:
            return [own, *(row.get("subArchitectures") or ())]
    return []


def _is_for(rule: Mapping[str, Any], names: Sequence[str], machine: str, kernel: Version) -> bool:
    """Whether all that it includes holds, and nothing that it excludes."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    architecture = _MACHINES.get(machine, (machine, ""))[0]
    return (
        (not includes.get("arches") or architecture in includes["arches"])
        and set(includes.get("caps") or ()) <= set(names)
        and kernel >= version(includes.get("minKernel") or "0.0")
        and architecture not in (excludes.get("arches") or ())
        and not set(excludes.get("caps") or ()) & set(names)
        and not (excludes.get("minKernel") and kernel >= version(excludes["minKernel"]))
    )


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name not in ("includes", "excludes", "comment")}


def version(text: str) -> Version:
    """ "6.1.0-13-amd64" -> (6, 1)."""
    major, _, rest = text.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return int(major or 0), int(minor or 0)
