"""Dead mounts of running containers, re-attached to the daemon that serves now.

When the last process that holds a FUSE connection is killed, every bind mount of its files answers ENOTCONN for good.
What is looked at, and how it is judged dead, is `run`'s; `mending` acts in one container. Pure: `stacks`, `places`.

What a kernel lets us keep: the place among the mounts, the flags, and whether mounts pass from or to it. What it does
not: the number of the mount, its group of peers, and that a container's user namespace must leave the flags alone. A
file that was open stays dead. Not seen: mount namespaces without a process, those of single threads, and our own.
Follows mount_namespaces(7), move_mount(2), open_tree(2) and fuse(4).
"""
