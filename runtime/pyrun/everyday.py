"""The commands of pyrun that are for people and no engine's: their options, in the words of Docker's users.

What each does is in `people`, of LAUNCH in `commands`.
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
        Option(("-d", "--detach"), "", "in the background: print its name when it runs"),
        Option(("-i", "--interactive"), "", "with -d: standard input stays open; without it is the caller's anyway"),
        Option(("-t", "--tty"), "", "give it a terminal"),
        Option(("--rm",), "", "with -d: remove it when it has ended; without that is so anyway"),
        Option(("--log-size",), "SIZE", "with -d: what is kept of what it says (default 8m)"),
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
  pyrun launch -d --name web -w /srv -- python3 -m http.server && pyrun logs -f web
  pyrun launch --rootfs /srv/alpine --pids 100 -- /bin/sh -c 'echo $$'
""",
)

PS = Command(
    "ps",
    "[ID [OPTION-OF-PS...]]",
    "list the containers that run, or print the processes of one",
    (
        Option(("-a", "--all"), "", "those that have ended too"),
        Option(("-q", "--quiet"), "", "IDs only"),
        Option(("-f", "--format"), "FORMAT", "table or json (of a container's processes: pids)", ("table", "json")),
        HELP,
    ),
    0,
    None,
)

LOGS = Command(
    "logs",
    "ID",
    "print what a container in the background said",
    (
        Option(("-f", "--follow"), "", "go on until the container has ended"),
        Option(("-n", "--tail"), "N", "the last N lines alone"),
        Option(("--since",), "TIME", "what is newer than 10m, 2026-01-31T12:00:00Z or seconds since 1970"),
        Option(("-t", "--timestamps"), "", "with the moment of each line"),
        HELP,
    ),
    1,
    1,
    details="""\
What it wrote to standard output comes on standard output, what it wrote to standard error there.
""",
)

STOP = Command(
    "stop",
    "ID...",
    "end containers: by a signal, and later by SIGKILL",
    (
        Option(("-t", "--time"), "SECONDS", "how long one has to end by the signal (default 10)"),
        Option(("-s", "--signal"), "SIGNAL", "which signal (default TERM)"),
        HELP,
    ),
    1,
    None,
    details="""\
A container whose first process neither catches nor ignores the signal is killed at once, since the kernel would not
deliver it.
""",
)

WAIT = Command(
    "wait", "ID...", "wait for the end of containers in the background, and print their status", (HELP,), 1, None
)

STATS = Command(
    "stats",
    "[ID...]",
    "show what containers use, again and again",
    (
        Option(("--no-stream",), "", "once"),
        Option(("--interval",), "TIME", "how often, as 1s (the default) or 500ms"),
        Option(("--json",), "", "one object a line, and no table"),
        HELP,
    ),
    0,
    None,
)

TOP = Command(
    "top",
    "ID [OPTION-OF-PS...]",
    "print the processes of a container, as ps(1) does",
    (HELP,),
    1,
    None,
)
