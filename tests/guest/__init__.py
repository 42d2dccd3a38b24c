"""A throw-away guest with a pure cgroup v2 kernel that sees this machine's files: `python -m tests.guest -- COMMAND`.

packages    Debian packages: installed, or only unpacked
kernels     which kernel, and where it comes from
build       User Mode Linux from Debian's linux-source, configured by uml.config, once
initrd      the archive that the kernel starts from: modules, the guest's own scripts, the command
machines    the command lines of User Mode Linux and qemu
run         one run: start, pass output on, exit status, nothing left behind
suite       the system tests on one kernel
beside      the system tests on all kernels, some guests at a time, beside other tests
*.sh        what runs inside, before the command
"""
