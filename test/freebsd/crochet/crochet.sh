#!/bin/sh
# A stand-in for crochet of February 2016: takes -c CONFIG, knows what knox's config.sh calls, keeps the marks that crochet
# keeps, attaches and mounts the image by the stand-ins of ../bin, and leaves them behind where crochet would.
#   $KNOX_WORLD/fail   `world`, `kernel`, `ubldr` or `image`: where it fails, once
#   $KNOX_WORLD/slow-build   it takes half a minute at the image, once
#   $KNOX_WORLD/typo   config(8) ignores the kernel's options
set -e
while getopts b:c:e:uv flag; do
  case $flag in
    c) CONFIG=$OPTARG ;;
    *) echo "Usage: sudo $0 [-b <board>|-c <configfile>]"; exit 1 ;;
  esac
done
echo "crochet.sh $*" >>"$KNOX_WORLD/log"
board_setup() { [ "$1" = RaspberryPi ] && KERNCONF=RPI-B && TARGET_ARCH=armv6; }
option() { [ "$1" = ImageSize ] && IMAGE_SIZE=$2; }
PHASE_PARTITION_LWW=311
strategy_add() { [ "$1" = 311 ] && PARTITION=$2; }
disk_partition_mbr() { echo "mbr $IMAGE_SIZE" >>"$KNOX_WORLD/partitions"; }
disk_fat_create() { echo "fat $*" >>"$KNOX_WORLD/partitions"; }
disk_ufs_create() { echo "ufs $*" >>"$KNOX_WORLD/partitions"; }
DISK_MD=md9
. "$CONFIG"

fails() {
  [ "$(cat "$KNOX_WORLD/fail" 2>/dev/null)" = "$1" ] || return 1
  rm "$KNOX_WORLD/fail"
}

echo "Starting at $(date)"
mkdir -p "$WORKDIR"
[ -f "$FREEBSD_SRC/sys/arm/conf/$KERNCONF" ] || { echo "Didn't find $FREEBSD_SRC/sys/arm/conf/$KERNCONF"; exit 1; }

# build world|kernel CONF
build() {
  log=$WORKDIR/_.build$1.$2.log
  if [ -f "$WORKDIR/_.built-$1.$2" ]; then
    echo "Using FreeBSD $2 $1 from previous build"
    return
  fi
  echo "Building FreeBSD $2 $1 at $(date)"
  echo "    (Logging to $log)"
  if fails "$1"; then
    {
      echo "cc -O -c opensolaris.c"
      echo "/src/sys/cddl/opensolaris.c:50:9: error: 'cpu_id' macro redefined [-Werror]"
      echo "1 error generated."
      echo "*** Error code 1"
      i=0
      while [ $i -lt 200 ]; do echo "make: stopped in /usr/src/$i"; i=$((i + 1)); done
    } >"$log"
    echo "Failed to build FreeBSD $2 $1."
    echo "Log in $log"
    tail "$log"
    exit 1
  fi
  : >"$WORKDIR/_.built-$1.$2"
}
build world armv6
build kernel "armv6-$KERNCONF"
objects=$WORKDIR/obj/arm.armv6$FREEBSD_SRC/sys/$KERNCONF
mkdir -p "$objects"
# config(8), for what knox's file says
if grep -q '^ ' "$FREEBSD_SRC/sys/arm/conf/$KERNCONF"; then echo "config: a line that begins with a blank" >&2; exit 1; fi
sed -n 's/^ident \(.*\)$/KERN_IDENT=\1/p' "$FREEBSD_SRC/sys/arm/conf/$KERNCONF" >"$objects/Makefile"
sed -n 's/^makeoptions MODULES_EXTRA="\(.*\)"$/MODULES_EXTRA=\1/p' "$FREEBSD_SRC/sys/arm/conf/$KERNCONF" >>"$objects/Makefile"
sed -n 's/^options \(KSTACK_PAGES\)=\(.*\)$/#define \1 \2/p' "$FREEBSD_SRC/sys/arm/conf/$KERNCONF" >"$objects/opt_kstack_pages.h"
if [ -e "$KNOX_WORLD/typo" ]; then echo '#define INET6 1' >"$objects/opt_inet6.h"; fi

ubldr=$WORKDIR/ubldr-armv6-$KERNCONF
mkdir -p "$ubldr"
if [ -f "$ubldr/_.ubldr.armv6-$KERNCONF.built" ]; then
  echo "Using ubldr from previous build"
else
  echo "Building FreeBSD armv6-$KERNCONF ubldr at $(date)"
  echo "    (Logging to $ubldr/_.ubldr.armv6-$KERNCONF.build.log)"
  # make runs under set -e alone: it ends without a word
  if fails ubldr; then
    echo "ld: error: ubldr is too big" >"$ubldr/_.ubldr.armv6-$KERNCONF.build.log"
    exit 2
  fi
  : >"$ubldr/_.ubldr.armv6-$KERNCONF.built"
fi
gpart() { echo "gpart $*" >>"$KNOX_WORLD/partitions"; }
"$PARTITION"
unset -f gpart
rm -f "$IMG"
{
  head -c 510 /dev/zero
  printf '\125\252crochet'
  head -c 65017 /dev/zero
} >"$IMG"
mdconfig -a -t vnode -f "$IMG" -u 9
mkdir -p "$WORKDIR/_.mount.freebsd"
mount -t ufs -o rw,noatime /dev/md9s2a "$WORKDIR/_.mount.freebsd"
echo "Installing FreeBSD world at $(date)"
if [ -e "$KNOX_WORLD/slow-build" ]; then
  rm "$KNOX_WORLD/slow-build"
  : >"$KNOX_WORLD/building"
  sleep 30
fi
if fails image; then
  echo "Installworld failed."
  echo "    Log: $WORKDIR/_.installworld.armv6.log"
  echo "install: /x: No space left on device" >"$WORKDIR/_.installworld.armv6.log"
  exit 1
fi
echo "Installing FreeBSD kernel at $(date)"
umount "$WORKDIR/_.mount.freebsd"
mdconfig -d -u 9
echo "Finished at $(date)"
