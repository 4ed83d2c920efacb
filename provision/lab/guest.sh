#!/bin/sh
# The guest's init: runs the command file that the kernel command line names, on the second serial line, and powers off.
# The last line is a marker with the command's exit code; a guest that dies leaves none.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/sshd
hostname home
ip link set lo up
for word in $(cat /proc/cmdline); do
  case $word in
    knox.run=*) run=${word#knox.run=} ;;
    knox.mark=*) mark=${word#knox.mark=} ;;
  esac
done
cp "$run" /run/knox-command # before the host's /tmp is hidden
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
stty -F /dev/ttyS1 raw -echo
modprobe -a zfs dm-crypt dm-mod loop veth nbd sch_netem
# there is no udev here: zpool(8) would wait three seconds, at every import, until it has named a disk
mkdir -p /run/udev/data
dm=$(sed -n 's/ device-mapper$//p' /proc/devices)
for minor in 0 1 2 3 4 5 6 7; do printf 'S:disk/by-id/dm-%s\nI:1\n' "$minor" >"/run/udev/data/b$dm:$minor"; done
echo "$mark up" >/dev/ttyS1
sh /run/knox-command </dev/null >/dev/ttyS1 2>&1
printf '\n%s %s\n' "$mark" "$?" >/dev/ttyS1
sleep 0.2
echo o >/proc/sysrq-trigger
sleep 10
