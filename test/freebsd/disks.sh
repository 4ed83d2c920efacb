# shellcheck shell=sh disable=SC2034,SC2015
# What the stand-ins for FreeBSD's disk programs share; sourced by them. They take the arguments that 10.2 takes, in the
# ways that knox uses, and refuse all others. What they know lies in the folder $KNOX_WORLD:
#   log            each call, one a line
#   disks/ID       an image's content: `gpart` and `gpart.s2` (what `gpart backup` says), s1 and s2a (its file systems)
#   md/UNIT        a memory disk: its file, its access, where its content lies
#   mounts         device, mount point, type, options; one a line
# The image itself is a file whose bytes from 512 on hold its ID. Its content belongs to the path it is attached from: a
# copy of an image has a content of its own. A mounted file system is its folder, moved onto the mount point.
# Owners: everything is root's but for the lines "uid:gid path" in s2a.owners.
set -u
world=${KNOX_WORLD:?}
[ "${world#/}" != "$world" ] || exit 64
prog=${0##*/}
printf '%s\n' "$prog $*" >> "$world/log"
: >> "$world/mounts"
[ -d "$world/md" ] || mkdir "$world/md"

# a test that wants to interrupt names programs: when it is one's turn it says that it has begun, and takes its time
if [ -s "$world/slow" ] && [ "$(head -n 1 "$world/slow")" = "$prog" ]; then
  tail -n +2 "$world/slow" > "$world/slow.rest"
  mv "$world/slow.rest" "$world/slow"
  : > "$world/waiting"
  sleep 2.5
fi

die() { echo "$prog: $*" >&2; exit 1; }
usage() { echo "usage: $prog ... (10.2 does not take this: $*)" >&2; exit 64; }

# the unit and the part of /dev/md0s2a: 0 s2a
split_device() {
  name=${1#/dev/}
  case $name in md[0-9]*) ;; *) return 1 ;; esac
  rest=${name#md}
  unit=${rest%%[!0-9]*}
  part=${rest#"$unit"}
  [ -f "$world/md/$unit" ] || return 1
  { read -r file; read -r access; read -r content; } < "$world/md/$unit"
}

# the line of the file system that a path is on
mount_of() {
  while IFS='|' read -r device on type options; do
    case $1 in "$on" | "$on"/*) echo "$device|$on|$type|$options"; return ;; esac
  done < "$world/mounts"
  return 1
}

# a change below a path: only on a file system that is mounted to be written
must_be_writable() {
  line=$(mount_of "$1") || die "$1 is on no file system of an image: this would change the build host"
  case $line in *'|ro') die "$1: Read-only file system" ;; esac
}

# all that can be told apart of a tree
sum_of() { (cd "$1" && find . -printf '%P %y %m %T@ %l\n' | sort && find . -type f -exec sha256sum {} + | sort) | sha256sum | cut -d' ' -f1; }
