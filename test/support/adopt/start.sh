#!/bin/sh
# start.sh DIR: in namespaces of its own, this machine as a fresh FreeBSD with a plain sshd; ends with its first process
set -eu
dir=$1
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/work" /etc
mount --bind "$dir/root" /root
mount --bind "$dir/boot" /boot
mount --bind "$dir/bin" /usr/local/sbin
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
ln -s "$dir/root" /run/state
/usr/sbin/sshd -f /etc/ssh/sshd_config -E "$dir/sshd.log"
: >"$dir/ready"
exec sleep 600
