"""The commands of pyrun that are for people and no engine's: their options, in the words of Docker's users.

What each does is in `commands`.
"""

from __future__ import annotations

from pyrun.arguments import Command, Option

HELP = Option(("-h", "--help"), "", "print this help")
DRY_RUN = Option(("--dry-run",), "", "print every step and take none")

LAUNCH = Command(
    "launch",
    "[--] COMMAND [ARGUMENT...]",
    "run a command in a new container",
    (
        Option(("-m", "--memory"), "SIZE", "memory limit, as 256m"),
        Option(("--memory-swap",), "SIZE", "limit of memory plus swap, -1 for none (default: twice --memory)"),
        Option(("--cpus",), "N", "how many CPUs' time, as 1 or 0.5"),
        Option(("--cpuset",), "LIST", "which CPUs, as 0-2,5"),
        Option(("--pids",), "N", "limit of processes and threads"),
        Option(("--rootfs",), "DIR", "the root (default: the host's, under a layer that is thrown away)"),
        Option(("--read-only",), "", "the root may not be written to"),
        Option(("-v", "--volume"), "DIR:DIR[:ro]", "a directory or file of the host in the container", repeats=True),
        Option(("--device",), "PATH[:PATH][:rwm]", "a device of the host in the container", repeats=True),
        Option(("-e", "--env"), "NAME[=VALUE]", "one variable more, without VALUE the caller's", repeats=True),
        Option(("-w", "--workdir"), "DIR", "its working directory in the container"),
        Option(("-u", "--user"), "USER[:GROUP]", "whom it runs as, by name or number (default: root)"),
        Option(("--hostname",), "NAME", "name of the machine in the container (default: its own)"),
        Option(("--cap-add",), "NAME", "one capability more, as NET_ADMIN or ALL", repeats=True),
        Option(("--cap-drop",), "NAME", "one capability less, or ALL", repeats=True),
        Option(("--security-opt",), "NAME=VALUE", "how it is confined, see below", repeats=True),
        Option(("--init",), "", "have a small init run it, which buries the processes that lost their parents"),
        Option(("--annotation",), "NAME=VALUE", "as config.json has them, as org.lxcfs.cpus=cpuset", repeats=True),
        Option(("--name",), "ID", "name of the container (default: random)"),
        Option(("-t", "--tty"), "", "give it a terminal"),
        DRY_RUN,
        HELP,
    ),
    least=1,
    most=None,
    details="""\
Exits with the command's status, 128 + N where signal N ended it, 127 where there is no such command, 126 where it
cannot be executed, 125 where pyrun failed.

--security-opt: no-new-privileges=false, seccomp=FILE (Docker's form or OCI's), apparmor=PROFILE,
systempaths=unconfined.

Examples:
  pyrun --lxcfs launch -m 256m --cpus 1 -- free -m
  pyrun --lxcfs launch -m 1g -t -- bash
  pyrun --lxcfs launch --cpus 1 --annotation org.lxcfs.cpus=cpuset -- nproc
  pyrun launch --rootfs /srv/alpine -v ./data:/data:ro -u 1000 -w /data -- ls -l
  pyrun launch --rootfs /srv/alpine --pids 100 -- /bin/sh -c 'echo $$'
""",
)
