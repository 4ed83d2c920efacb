#!/bin/sh
# adopt-look.sh PATH ...: what a machine is and what stands at these paths; changes nothing. POSIX sh for FreeBSD 10.2.
# Prints sections: a line "== NAME", then its lines; a file's bytes in hexadecimal.
PATH=${PATH:-}:/sbin:/bin:/usr/sbin:/usr/bin
export PATH

section() {
  printf '== %s\n' "$1"
}

section system
uname -s
[ "$(uname -s)" = FreeBSD ] || exit 0
section uid
id -u
section version
freebsd-version -u 2>/dev/null || uname -r
section machine
uname -m
section mounts
mount -p
section pools
# zpool(8) alone would load the module
if kldstat -q -m zfs 2>/dev/null; then zpool list -H -o name; fi
section memory
sysctl -n hw.physmem
section route
route -n get default 2>/dev/null | sed -n 's/^ *interface: *//p'
if [ "$(id -u)" = 0 ]; then
  # the hash itself stays here
  section password
  case $(pw usershow root | cut -d : -f 2) in
  '') echo empty ;;
  '*LOCKED*'*) echo locked ;;
  '*') echo none ;;
  *) echo set ;;
  esac
  section undecided
  for armed in /root/knox-before/*/armed; do
    run=${armed%/armed}
    [ -e "$armed" ] && [ ! -e "$run/confirmed" ] && [ ! -e "$run/undone" ] && printf '%s\n' "$run"
  done
fi
section overrides
for path in /etc/rc.conf.local /boot/loader.conf.local /boot/loader.conf.d/* /etc/rc.conf.d/* /etc/ssh/sshd_config.d/*; do
  [ -f "$path" ] && printf '%s\n' "$path"
done
for path in "$@"; do
  if [ -L "$path" ]; then
    section "link $path"
    readlink "$path"
  elif [ -f "$path" ]; then
    section "file $path"
    # the host key is not needed at home
    case $path in
    *_key | /entropy) ;;
    *) od -An -v -tx1 "$path" ;;
    esac
  elif [ -e "$path" ]; then
    section "other $path"
  fi
done
section end
