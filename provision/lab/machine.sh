#!/bin/sh
# One machine of a pair of the lab, as its root. SHARED is a folder that the host and both machines see.
#   machine.sh listen SHARED NAME     obeys: for each line ID runs SHARED/ID.sh and says `ended ID STATUS`
#   machine.sh home SHARED TANK_MIB   home's network and pool
#   machine.sh box SHARED OVERLAY     the box's network and disk, and its sshd with the rendered files in their places
#   machine.sh plug                   gives the box's disk its name, whenever the kernel has found one
set -u
here=$(cd "$(dirname "$0")" && pwd)
# there is no udev in a guest
DM_DISABLE_UDEV=1
export DM_DISABLE_UDEV

listen() {
  hostname "$2"
  mkdir -p "$1"
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072,cache=none shared "$1"
  echo listening
  while read -r id; do
    (
      sh "$1/$id.sh" </dev/null >"$1/$id.out" 2>"$1/$id.err"
      echo "ended $id $?"
    ) &
  done </dev/ttyS1
}

network() {
  for card in /sys/class/net/e*; do card=${card##*/}; done
  ip link set "$card" name lab0
  ip addr add "$1/24" dev lab0
  ip link set lab0 up
}

home() {
  network 10.77.0.1
  truncate -s "${2}M" /var/tmp/tank.img
  zpool create -o ashift=12 -O atime=off -m /var/tmp/tank tank /var/tmp/tank.img
}

# the disk that can be pulled, as dm device da0 so that it can be given faults; its name goes when the disk goes
plug() {
  pulled=0
  while :; do
    disk=
    for each in /sys/block/sd*; do [ ! -e "$each" ] || disk=${each##*/}; done
    if [ -n "$disk" ] && [ -b "/dev/$disk" ] && [ ! -e /dev/da0 ]; then
      echo "0 $(blockdev --getsz "/dev/$disk") linear /dev/$disk 0" | dmsetup create da0 &&
        ln -sf "/dev/dm-$(dmsetup info -c --noheadings -o minor da0)" /dev/da0
    elif [ -z "$disk" ] && [ -e /dev/da0 ]; then
      rm -f /dev/da0
      pulled=$((pulled + 1))
      dmsetup rename da0 "pulled-$pulled"
      dmsetup remove --deferred "pulled-$pulled"
    fi
    sleep 0.5
  done
}

box() {
  modprobe -a virtio_scsi sd_mod
  network 10.77.0.2
  mkdir -p /run/sshd
  sh "$here/box-programs.sh"
  : >/run/knox-lab/whole-machine
  sh "$0" plug </dev/null >/dev/null 2>&1 &
  until [ -e /dev/da0 ]; do sleep 0.1; done
  cp -a "$2" /run/overlay
  # FreeBSD's root has csh; here it is tcsh, without start-up files
  sed 's|^root:.*|root:*:0:0::/root:/usr/bin/tcsh|' /etc/passwd >/run/knox-lab/passwd
  mount --bind /run/overlay/etc/ssh /etc/ssh
  mount --bind /run/overlay/root /root
  mount --bind /run/knox-lab/bin /usr/local/sbin
  mount --bind /run/knox-lab/passwd /etc/passwd
  /usr/sbin/sshd -E /run/sshd.log -o PidFile=/run/sshd.pid -o SetEnv=ZPOOL_IMPORT_PATH=/dev
}

verb=$1
shift
"$verb" "$@"
