#!/bin/sh
# The lab's two machines inside one guest. Home is the guest itself; the box is a network and mount namespace of it.
#   world.sh up DIR DISK_MIB TANK_MIB   the link, the box's disk da0, home's pool tank
#   world.sh home DIR TANK_MIB          only home's pool, for a box elsewhere
#   world.sh serve DIR OVERLAY          the box's sshd, with the rendered files in their places
#   world.sh down DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
verb=$1
dir=$2
# there is no udev in a guest
DM_DISABLE_UDEV=1
export DM_DISABLE_UDEV

up() {
  ip netns add box
  ip link add home0 type veth peer name box0 netns box
  ip addr add 10.77.0.1/24 dev home0
  ip link set home0 up
  ip netns exec box ip addr add 10.77.0.2/24 dev box0
  ip netns exec box ip link set box0 up
  ip netns exec box ip link set lo up
  truncate -s "${1}M" "$dir/da0.img"
  losetup /dev/loop0 "$dir/da0.img"
  echo "0 $((${1} * 2048)) linear /dev/loop0 0" | dmsetup create da0
  ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor da0)" /dev/da0
  home "$2"
}

home() {
  truncate -s "${1}M" "$dir/tank.img"
  zpool create -o ashift=12 -O atime=off -m "$dir/tank" tank "$dir/tank.img"
}

# FreeBSD's root has csh; here it is tcsh, without start-up files
serve() {
  overlay=$1
  sed 's|^root:.*|root:*:0:0::/root:/usr/bin/tcsh|' /etc/passwd >"$dir/passwd"
  mkdir -p /run/sshd
  sh "$here/box-programs.sh"
  ip netns exec box unshare --mount --propagation private sh -euc '
    mount --bind "$1/etc/ssh" /etc/ssh
    mount --bind "$1/root" /root
    mount --bind /run/knox-lab/bin /usr/local/sbin
    mount --bind "$2/passwd" /etc/passwd
    # what Linux needs beside the rendered sshd_config: a pid file, and where zpool import looks for disks
    exec /usr/sbin/sshd -E "$2/sshd.log" -o PidFile="$2/sshd.pid" -o "SetEnv=ZPOOL_IMPORT_PATH=/dev"
  ' sh "$overlay" "$dir"
}

down() {
  for pid in $(ip netns pids box 2>/dev/null); do kill -KILL "$pid" || :; done
  zpool export -f wd 2>/dev/null || :
  if dmsetup info da0.eli >/dev/null 2>&1; then dmsetup remove da0.eli || :; fi
  # what a test has killed may still be on its way out
  for _ in 1 2 3 4 5; do
    if zpool destroy -f tank; then break; fi
    grep tank /proc/mounts || :
    sleep 2
  done
  dmsetup remove da0 || :
  losetup -d /dev/loop0 || :
  rm -f /dev/da0 /dev/da0.eli
  ip netns del box || :
}

shift 2
case $verb in
  up | home | serve | down) "$verb" "$@" ;;
  *) exit 64 ;;
esac
