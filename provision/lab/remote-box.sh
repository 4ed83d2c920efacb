#!/bin/sh
# remote-box.sh up|down DIR: on a FreeBSD machine that plays the box in `npm run test:freebsd`, as root.
# DIR holds the rendered files. The machine's own sshd and settings stay as they are: the box's sshd is a second one,
# on a loopback port. Only the box's script must stand in its own place, since the certificates name it.
set -eu
verb=$1
dir=$2
script=/root/knox-zfs-receive.sh

case $verb in
  up)
    if [ -e "$script" ]; then
      echo "there is a $script on this machine already: it is a box in use" >&2
      exit 1
    fi
    : >"$dir/script-is-ours"
    kldload -n zfs geom_eli
    cp -p "$dir/root/knox-zfs-receive.sh" "$script"
    chmod 700 "$script"
    chmod 600 "$dir/etc/ssh/ssh_host_ed25519_key"
    /usr/sbin/sshd -t -f "$dir/etc/ssh/sshd_config" -o "HostKey=$dir/etc/ssh/ssh_host_ed25519_key"
    /usr/sbin/sshd -f "$dir/etc/ssh/sshd_config" -p 2299 -E "$dir/sshd.log" -o ListenAddress=127.0.0.1 \
      -o "PidFile=$dir/sshd.pid" -o "HostKey=$dir/etc/ssh/ssh_host_ed25519_key" -o "TrustedUserCAKeys=$dir/etc/ssh/knox-ca"
    ;;
  down)
    if [ -f "$dir/sshd.pid" ]; then kill "$(cat "$dir/sshd.pid")" || :; fi
    # that of a box in use, for which `up` refused, stays
    if [ -e "$dir/script-is-ours" ]; then rm -f "$script"; fi
    rm -rf "$dir"
    ;;
esac
