#!/bin/bash
# Process 1 of the guest: one cgroup2 mount laid out as systemd does it, then the command in a leaf of its own,
# /system.slice/guest.service, as root and not as process 1.
. /run/guest/settings
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rshared /
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue 2>/dev/null
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
for pair in 0:stdin 1:stdout 2:stderr; do
    [ -e "/dev/${pair#*:}" ] || ln -s "/proc/self/fd/${pair%:*}" "/dev/${pair#*:}"
done
[ -d /sys/fs/fuse/connections ] && mount -t fusectl fusectl /sys/fs/fuse/connections
cgroup2=nosuid,nodev,noexec,relatime,nsdelegate
mount -t cgroup2 -o $cgroup2,memory_recursiveprot cgroup2 /sys/fs/cgroup ||
    mount -t cgroup2 -o $cgroup2 cgroup2 /sys/fs/cgroup
[ ! -e /proc/sys/kernel/modprobe ] || echo /run/guest/modprobe > /proc/sys/kernel/modprobe
hostname guest
ip link set lo up

top=/sys/fs/cgroup
mkdir $top/init.scope $top/system.slice
echo 1 > $top/init.scope/cgroup.procs
for folder in $top $top/system.slice; do
    for controller in $(cat $top/cgroup.controllers); do echo "+$controller" > $folder/cgroup.subtree_control; done
done
mkdir $top/system.slice/guest.service

port() { # name: the device of that channel to the machine outside
    if [ "$MACHINE" = uml ]; then
        case $1 in out) tty=ttyS0 ;; err) tty=ttyS1 ;; control) tty=ttyS2 ;; esac
        stty -F /dev/$tty raw -echo
        echo /dev/$tty
    else
        for path in /sys/class/virtio-ports/*; do [ "$(cat "$path/name")" = "$1" ] && echo "/dev/${path##*/}"; done
    fi
}
out=$(port out) err=$(port err) control=$(port control)
exec 9<> "$control"
mkfifo /run/guest/out /run/guest/err
cat /run/guest/out > "$out" & copy_out=$!
cat /run/guest/err > "$err" & copy_err=$!
for pid in $copy_out $copy_err; do echo -1000 > /proc/$pid/oom_score_adj; done
(
    echo $BASHPID > $top/system.slice/guest.service/cgroup.procs
    exec 9>&-
    # A shell starts what it puts in the background with SIGINT and SIGQUIT ignored; the command must not inherit that.
    exec setsid env --default-signal /run/guest/command < /dev/null > /run/guest/out 2> /run/guest/err
) &
wait $!
status=$?
# What the command left behind may still hold the pipes: a second for the output that is under way, no more.
for i in $(seq 20); do kill -0 $copy_out 2>/dev/null || kill -0 $copy_err 2>/dev/null || break; sleep 0.05; done
[ "$MACHINE" = uml ] && for tty in "$out" "$err"; do stty -F "$tty" raw; done
echo "status $status" >&9
read -r -t 10 -u 9 _
[ -z "$RW" ] || sync
if [ "$MACHINE" = uml ]; then /run/guest/busybox poweroff -f; else /run/guest/busybox reboot -f; fi
sleep 60
