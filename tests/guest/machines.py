"""The command lines that start a guest: User Mode Linux (Documentation/virt/uml) and qemu (qemu-system-x86_64(1)).

A guest has three channels, descriptors of sockets: `out` and `err` carry the command's output, `control` its status.
Its root is the machine's own file tree: hostfs in User Mode Linux, virtiofs in qemu, with a process for each folder.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py import errors
from tests.guest.kernels import Kernel

CHANNELS = ("out", "err", "control")
_VIRTIOFSD = "/usr/lib/qemu/virtiofsd"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a guest is made of. `folder` holds its disk and initrd; `log` is the descriptor of the console's file."""

    kernel: Kernel
    cpus: int
    memory: str
    folder: Path
    channels: Mapping[str, int]
    log: int


def uml(machine: Machine) -> list[str]:
    """User Mode Linux. It switches between processes of this machine at each system call of the guest; across two
    CPUs such a switch may wake an idle one, which is slow in a virtual machine (a test suite took 15 s, not 5), so a
    guest with one CPU is bound to one."""
    allowed = sorted(os.sched_getaffinity(0))
    bound = ["taskset", "-c", str(allowed[os.getpid() % len(allowed)])] if machine.cpus == 1 else []
    out, err, control = (machine.channels[name] for name in CHANNELS)
    return [
        *("setpriv", "--pdeathsig", "KILL", *bound, str(machine.kernel.image)),
        *(f"mem={machine.memory}", f"ncpus={machine.cpus}", "seccomp=auto", f"initrd={machine.folder}/initrd"),
        *(f"ubd0={machine.folder}/disk", f"uml_dir={machine.folder}", "umid=guest"),
        *("con=null", f"con0=null,fd:{machine.log}", "console=tty0"),
        *("ssl=null", f"ssl0=fd:{out}", f"ssl1=fd:{err}", f"ssl2=fd:{control}"),
        *("panic=-1", "noreboot", "quiet", "cgroup_no_v1=all", "psi=1"),
    ]


def qemu(machine: Machine, folders: int) -> list[str]:
    """qemu without KVM. `-M microvm` would hang at random here: without KVM it has no clock to measure the TSC by."""
    command = [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-M", "pc,memory-backend=memory"),
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", str(machine.cpus), "-m", machine.memory),
        *("-object", f"memory-backend-memfd,id=memory,size={machine.memory},share=on"),
        *("-display", "none", "-nodefaults", "-no-reboot", "-no-user-config"),
        *("-chardev", f"file,id=console,path=/proc/self/fd/{machine.log}", "-serial", "chardev:console"),
        *("-kernel", str(machine.kernel.image), "-initrd", f"{machine.folder}/initrd"),
        *("-drive", f"id=disk,file={machine.folder}/disk,format=raw,if=none,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-serial-pci"),
    ]
    for name, descriptor in machine.channels.items():
        command += ["-chardev", f"socket,id={name},fd={descriptor}"]
        command += ["-device", f"virtserialport,chardev={name},name={name}"]
    for number in range(folders):
        command += ["-chardev", f"socket,id=share{number},path={_socket(machine.folder, number)}"]
        command += ["-device", f"vhost-user-fs-pci,chardev=share{number},tag={_tag(number)}"]
    words = (
        "console=ttyS0 quiet panic=-1 reboot=t mitigations=off nokaslr audit=0 nowatchdog random.trust_cpu=1 "
        "cgroup_no_v1=all psi=1"
    )
    return [*command, "-append", words]


def share(folder: Path, paths: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """A virtiofsd for the root and one for each folder of `paths`, all listening; the caller ends them."""
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for number, path in enumerate(["/", *paths]):
            cache = "auto" if number else "always"
            with open(folder / f"share{number}.log", "wb") as log:
                command = [_VIRTIOFSD, f"--socket-path={_socket(folder, number)}", "-o", f"source={path}"]
                command += ["-o", "sandbox=chroot", "-o", f"cache={cache}", "-o", "xattr"]
                servers.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
                )
            while not _socket(folder, number).exists():
                if servers[-1].poll() is not None:
                    raise errors.Error(f"{_VIRTIOFSD} ended: {(folder / f'share{number}.log').read_text()}")
                time.sleep(0.01)
    except BaseException:
        end(servers)
        raise
    return servers


def end(servers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what `share` started."""
    for server in servers:
        server.terminate()
        server.wait()


def _socket(folder: Path, number: int) -> Path:
    return folder / f"share{number}"


def _tag(number: int) -> str:
    return f"rw{number}" if number else "root"
