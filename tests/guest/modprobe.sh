#!/run/guest/busybox sh
# What the kernel calls to load a module, by name or alias: modules/alias has `pattern module...` on each line.
for word; do case $word in -*) ;; *) break ;; esac; done
name=$(echo "$word" | /run/guest/busybox tr - _)
status=1
while read -r pattern order; do
    case $name in
        $pattern)
            status=0
            for module in $order; do
                [ -d "/sys/module/$module" ] || /run/guest/busybox insmod "/run/guest/modules/$module.ko" || status=1
            done ;;
    esac
done < /run/guest/modules/alias
exit $status
