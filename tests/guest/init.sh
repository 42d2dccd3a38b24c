#!/bin/busybox sh
# The first process of the guest: mounts the machine's file tree under an overlay that nothing outlives, and goes there.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
if [ -e /modules/first ]; then
    while read -r name; do insmod "/modules/$name.ko"; done < /modules/first
fi
. /guest/settings

host() { # path of the machine, mount point, ro or rw, virtiofs tag
    case $MACHINE in
        uml) mount -t hostfs -o "$3,$1" none "$2" ;;
        qemu) mount -t virtiofs -o "$3" "$4" "$2" ;;
    esac || { echo "guest: cannot mount $1"; reboot -f; }
}
like() { # what to be like, the mount point to make
    if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "${2%/*}"; : > "$2"; fi
}

host / /host ro root
mount -t tmpfs -o size=90% overlay /overlay
mkdir /overlay/upper /overlay/work
new=/newroot
mount -t overlay -o lowerdir=/host,upperdir=/overlay/upper,workdir=/overlay/work overlay $new || reboot -f

# /tmp and /run are empty, but for the folders below /tmp that the command needs.
i=0
for path in $SHARE; do i=$((i + 1)); like "$new/$path" /stash/$i; mount --bind "$new/$path" /stash/$i; done
mount -t tmpfs -o mode=1777,size=50% tmp $new/tmp
mount -t tmpfs -o mode=755 run $new/run
i=0
for path in $SHARE; do i=$((i + 1)); like /stash/$i "$new/$path"; mount --move /stash/$i "$new/$path"; done
i=0
for path in $RW; do i=$((i + 1)); mkdir -p "$new/$path"; host "$path" "$new/$path" rw rw$i; done
mkdir -p $new/var/tmp $new/run/guest
mount -t ext4 -o noatime "$DISK" $new/var/tmp && chmod 1777 $new/var/tmp

cp -r /guest/. /modules $new/run/guest/
cp /bin/busybox $new/run/guest/
date -s "@$NOW" > /dev/null
mount --move /proc $new/proc
mount --move /sys $new/sys
mount --move /dev $new/dev
umount -l /host
umount -l /overlay
exec switch_root $new /run/guest/system
