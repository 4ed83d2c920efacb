#!/bin/sh
# initrd.sh KERNEL OUT: an initrd that makes the host's own / (read-only, over virtio-9p) the guest's root, under a tmpfs.
set -eu
kernel=$1
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/mods" "$work/dev" "$work/proc" "$work/sys"
cp /bin/busybox "$work/bin/"
n=10
for module in virtio_pci 9pnet_virtio 9p overlay virtio_net virtio_blk; do
  modprobe -S "$kernel" --show-depends "$module"
done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r file; do
  cp "$file" "$work/mods/$n-$(basename "$file")" # in the order of their dependencies
  n=$((n + 1))
done
cat >"$work/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in /mods/*.ko; do /bin/busybox insmod "$module"; done
/bin/busybox mkdir -p /lower /rw /root
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,ro,cache=loose host /lower
/bin/busybox mount -t tmpfs -o size=90% tmpfs /rw
/bin/busybox mkdir /rw/upper /rw/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /root
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in knox.guest=*) guest=${word#knox.guest=} ;; esac
done
exec /bin/busybox switch_root /root /bin/sh "$guest"
INIT
chmod +x "$work/init"
(cd "$work" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$out.tmp"
mv "$out.tmp" "$out"
