#!/bin/sh
# adopt-box.sh DIR VERB [SECONDS [PATIENCE]]: puts knox's files in place on a running FreeBSD, and takes them back.
# POSIX sh for FreeBSD 10.2. DIR holds list (lines "NUMBER MODE PATH", sshd_config last; MODE is link for a link),
# new/NUMBER, and what is made here: old/NUMBER or old/NUMBER.none, armed, decided, confirmed or undone.
# Whoever makes the folder decided first, decides: confirm keeps the new files, undo brings the old ones back. It is over
# once confirmed or undone stands: the folder alone may be all that a power cut has left of it.
set -u
PATH=${PATH:-}:/sbin:/bin:/usr/sbin:/usr/bin
export PATH
umask 077
# a message to a connection that has gone must not end a change half way
trap '' PIPE HUP

dir=$1
verb=$2
seconds=${3:-300}
# for a restart: rc.shutdown(8) and init(8) together give up sooner
patience=${4:-300}
# for another undo, on a slow card
others=60
self=$dir/adopt-box.sh
boot=/etc/rc.local

die() {
  echo "knox: $*" >&2
  exit 1
}

cd "$dir" || die "there is no $dir"

# a locked-down root is mounted read-only
writable() {
  [ -w "$dir" ] && return 0
  mount -uw / || die 'the root cannot be mounted for writing'
}

# On the disk, under its name: with soft updates sync(8) only begins to write, and a power cut soon after a rename leaves
# an empty file; a folder is written too, or the name is lost (seen on 13.2). fsync(1) is in FreeBSD since 4.3; a link has
# nothing of its own to write.
durable() {
  case $1 in */*) folder=${1%/*} ;; *) folder=. ;; esac
  [ -L "$1" ] || fsync "$1" || sync
  fsync "${folder:-/}" || sync
}

number_of() {
  while read -r n mode path; do
    [ "$path" = "$1" ] && echo "$n"
  done <list
}

save() {
  mkdir -p old || die 'no room for the old files'
  while read -r n mode path; do
    if [ -e "$path" ] || [ -L "$path" ]; then
      cp -RpP "$path" "old/$n" || die "$path cannot be kept"
    else
      : >"old/$n.none" || die "$path cannot be kept"
    fi
  done <list
  for kept in adopt-box.sh list old/*; do
    durable "$kept"
  done
  : >saved
  # every folder on the way here is new
  fsync saved . .. ../.. || sync
}

# what would keep the machine from starting, or sshd
check() {
  n=$(number_of /etc/ssh/sshd_config)
  sed -e "s|^HostKey .*|HostKey $dir/new/$(number_of /etc/ssh/ssh_host_ed25519_key)|" \
    -e "s|^TrustedUserCAKeys .*|TrustedUserCAKeys $dir/new/$(number_of /etc/ssh/knox-ca)|" \
    "new/$n" >sshd_config.check || die 'sshd_config cannot be checked'
  # by its full name: older ones refuse to run without
  /usr/sbin/sshd -t -f "$dir/sshd_config.check" || die 'sshd does not take the new sshd_config'
  rm -f sshd_config.check
  sh -n "new/$(number_of /etc/rc.conf)" || die 'rc.conf is no shell script'
  sh -n "new/$(number_of /root/knox-zfs-receive.sh)" || die 'the session script does not fit this shell'
  while read -r device point type options rest; do
    case $device in '#'* | '') continue ;; esac
    case ,$options, in *,failok,* | *,noauto,* | *,late,*) continue ;; esac
    case $device in
    /dev/*) [ -e "${device%.eli}" ] || die "fstab names $device, which is not there" ;;
    esac
    case $point in
    /*) [ -d "$point" ] || die "fstab names the folder $point, which is not there ($type $rest)" ;;
    esac
  done <"new/$(number_of /etc/fstab)"
}

# After a power cut or a reboot the machine decides again, by itself. The line comes first: what stands there may end early
# or never, and keeps its mode.
at_boot() {
  printf '/bin/sh %s %s guard-boot %s </dev/null >/dev/null 2>&1 &\n' "$self" "$dir" "$seconds" >guard.line &&
    forget_boot && new_boot && cat guard.line >"$boot.knox-new" || die 'the switch cannot be set for the next start'
  if [ -f "$boot" ]; then cat "$boot" >>"$boot.knox-new" || die "$boot cannot be kept"; fi
  mv -f "$boot.knox-new" "$boot" || die 'the switch cannot be set for the next start'
  durable "$boot"
}

# an empty file with the mode of rc.local
new_boot() {
  rm -f "$boot.knox-new"
  [ ! -f "$boot" ] || cp -p "$boot" "$boot.knox-new" || return 1
  : >"$boot.knox-new"
}

forget_boot() {
  [ -f "$boot" ] || return 0
  new_boot || return 1
  grep -v -F "$self" "$boot" >"$boot.knox-new"
  if [ -s "$boot.knox-new" ]; then
    mv -f "$boot.knox-new" "$boot"
  else
    rm -f "$boot.knox-new" "$boot"
  fi
}

arm() {
  [ -e saved ] || die 'the old files are not kept yet'
  at_boot
  : >armed
  durable armed
  /bin/sh "$self" "$dir" guard "$seconds" </dev/null >guard.log 2>&1 &
}

install_one() {
  tmp=$3.knox-new
  rm -f "$tmp"
  case ${3%/*} in '') ;; *) mkdir -p "${3%/*}" || return 1 ;; esac
  if [ "$2" = link ]; then
    ln -s "$(cat "$1")" "$tmp" || return 1
  else
    cp "$1" "$tmp" && chmod "$2" "$tmp" && chown 0:0 "$tmp" || return 1
    durable "$tmp"
  fi
  mv -f "$tmp" "$3" || return 1
  durable "$3"
}

put() {
  [ -e armed ] || die 'the switch is not set'
  [ ! -d decided ] || die 'this run is over'
  # a name server until the next lease
  [ -e /var/run/resolv.conf ] || [ ! -f /etc/resolv.conf ] || cp /etc/resolv.conf /var/run/resolv.conf
  while read -r n mode path; do
    if [ "$path" = /etc/ssh/sshd_config ]; then
      # sshd refuses a locked account; an empty password would leave single-user mode open
      case $(pw usershow root | cut -d : -f 2) in
      '' | '*LOCKED*'*) pw usermod root -h - || die 'the password of root cannot be taken away' ;;
      esac
      sync
    fi
    install_one "new/$n" "$mode" "$path" || die "$path cannot be written"
  done <list
  sync
}

reload() {
  service sshd onerestart || service sshd onestart || die 'sshd does not start'
}

back_one() {
  if [ -e "old/$1.none" ]; then
    rm -f "$3"
  elif [ -e "old/$1" ] || [ -L "old/$1" ]; then
    rm -f "$3.knox-new" "$3.knox-old"
    cp -RpP "old/$1" "$3.knox-old" || return 1
    durable "$3.knox-old"
    mv -f "$3.knox-old" "$3" || return 1
    durable "$3"
  fi
}

undo() {
  writable
  if ! mkdir decided 2>/dev/null; then
    # another one is at it, or was cut off: then once more does no harm
    i=0
    until is_decided || [ "$i" -ge "$others" ]; do
      sleep 1
      i=$((i + 1))
    done
    [ ! -e confirmed ] || die 'this run is confirmed already'
    [ ! -e undone ] || return 0
  fi
  failed=0
  # first of all the way in
  tail -n 1 list >last
  for part in last list; do
    while read -r n mode path; do
      back_one "$n" "$mode" "$path" || failed=1
    done <"$part"
  done
  rm -rf new
  sync
  service sshd onerestart || service sshd onestart || failed=1
  [ "$failed" = 0 ] || die 'not all of the old files could be brought back; the next start tries it again'
  : >undone
  durable undone
  forget_boot
  sync
}

confirm() {
  writable
  mkdir decided 2>/dev/null || [ -e confirmed ] || die 'the machine has undone this run already'
  : >confirmed
  durable confirmed
  rm -rf new
  forget_boot
  sync
  # as fstab has it
  if grep -q '^[^#[:space:]]*[[:space:]][[:space:]]*/[[:space:]].*[[:space:],]ro[[:space:],]' /etc/fstab; then
    mount -ur / || :
  fi
}

# The files stay; only the next start is still to be proved. Home may be gone at any moment, and a switch that is set for a start
# that nobody looks at would take all back there: so the same process asks for the restart, and confirms again if none comes.
restart() {
  [ -e confirmed ] || die 'this run is not confirmed'
  writable
  # the first switch, which looks once a second, has seen it by then
  sleep 2
  at_boot
  rm -rf decided confirmed
  sync
  (
    # home gets its answer
    sleep 2
    # a sleep that something ends is the restart's own work
    ! shutdown -r now || sleep "$patience" || exit
    confirm
  ) </dev/null >/dev/null 2>&1 &
}

is_decided() {
  [ -e confirmed ] || [ -e undone ]
}

# True once somebody has decided. One sleep measures the time: on a slow machine a loop takes much longer than its sleeps.
# Nothing is written here: the root may be read-only.
decided_in_time() {
  sleep "$seconds" &
  timer=$!
  while kill -0 "$timer" 2>/dev/null; do
    if is_decided; then
      kill "$timer"
      return 0
    fi
    sleep 1
  done
  return 1
}

case $verb in
save) save ;;
check) check ;;
arm) arm ;;
put) put ;;
reload) reload ;;
undo) undo ;;
confirm) confirm ;;
guard) decided_in_time || undo ;;
guard-boot)
  # begun before this start: nobody is at it any more
  [ ! -d decided ] || others=0
  decided_in_time || { undo && shutdown -r now; }
  ;;
restart) restart ;;
*) die "there is no verb $verb" ;;
esac
