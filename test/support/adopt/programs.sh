#!/bin/sh
# One stand-in for several programs of FreeBSD 10.2, told apart by its name; refuses words the real one has not.
# $state is /root of the machine by a way that stays writable when the machine's own root is not.
name=${0##*/}
state=/run/state
wrong() { echo "$name: illegal words: $*" >&2; exit 64; }
# the machine's root is these three
remount() {
  for part in /root /etc /boot; do /bin/mount -o "remount,bind,$1" "$part" || return; done
}
case $name in
uname)
  case $* in -s | '') echo "${SYSTEM:-$(cat /root/.system)}" ;; -m | -p) echo amd64 ;; -r) cat /root/.version ;; *) wrong "$@" ;; esac ;;
freebsd-version)
  case $* in -u | '') cat /root/.version ;; *) wrong "$@" ;; esac ;;
sysctl)
  case $* in
  '-n hw.physmem') echo 2121412608 ;;
  '-n kern.boottime') echo "{ sec = $(cat /root/.boottime), usec = 1 } Mon Nov 23 22:00:00 2026" ;;
  *) wrong "$@" ;; esac ;;
route)
  case $* in '-n get default') printf '   route to: default\n  interface: em0\n' ;; *) wrong "$@" ;; esac ;;
mount)
  case $* in
  -p) cat /root/.mounts ;;
  '-uw /') remount rw ;;
  '-ur /') remount ro ;;
  *) wrong "$@" ;; esac ;;
ps)
  case $* in '-axo comm') printf 'COMMAND\ninit\nsshd\nntpd\ncron\ngetty\n' ;; *) wrong "$@" ;; esac ;;
swapinfo)
  case $* in -k) cat /root/.swap ;; *) wrong "$@" ;; esac ;;
pw)
  case $* in
  'usershow root') echo "root:$(cat /root/.password):0:0::0:0:Charlie &:/root:/bin/csh" ;;
  'usermod root -h -')
    [ ! -e /root/.fail-pw ] || exit 0
    echo '*' >$state/.password
    sed 's/^root:[^:]*:/root:*:/' /etc/shadow >/etc/shadow.new && mv /etc/shadow.new /etc/shadow ;;
  *) wrong "$@" ;; esac ;;
fsync)
  exec sync "$@" ;;
service)
  [ "$1" = sshd ] || wrong "$@"
  case $2 in onerestart | onestart) ;; *) wrong "$@" ;; esac
  if [ "$2" = onerestart ] && [ -s /run/sshd.pid ]; then
    kill "$(cat /run/sshd.pid)" && rm -f /run/sshd.pid
    sleep 0.2
  fi
  # says that it has started, and has not
  if [ -e /root/.deaf-service ] && grep -q knox-ca /etc/ssh/sshd_config; then exit 0; fi
  if [ -e /root/.fail-service ] && grep -q knox-ca /etc/ssh/sshd_config; then exit 1; fi
  /usr/sbin/sshd -f /etc/ssh/sshd_config -E $state/.sshd.log ;;
mv)
  if [ -e /root/.fail-mv ]; then
    case $* in *'.knox-new /etc/rc.conf') exit 1 ;; esac
  fi
  exec /usr/bin/mv "$@" ;;
shutdown)
  [ "$*" = '-r now' ] || wrong "$@"
  # says that it has begun, and has not
  [ ! -e /root/.deaf-shutdown ] || exit 0
  [ ! -e /root/.fail-shutdown ] || exit 1
  echo $(($(cat /root/.boottime) + 100)) >$state/.boottime
  echo reboot >>$state/.starts
  [ ! -e $state/.mounts.next ] || mv $state/.mounts.next $state/.mounts
  [ ! -e $state/.swap.next ] || mv $state/.swap.next $state/.swap
  pids=$(cat /run/sshd.pid)
  kill "$pids"
  for process in /proc/[0-9]*; do
    case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
    'sshd: '* | *' guard '* | *' guard-boot '* | *' restart '*) kill -9 "${process#/proc/}" ;;
    esac
  done
  rm -f /run/sshd.pid
  sleep 1
  if grep -q '[[:space:]]/[[:space:]].*[[:space:],]ro[[:space:],]' /etc/fstab; then remount ro; else remount rw; fi
  if [ ! -e /root/.fail-start ] || ! grep -q knox-ca /etc/ssh/sshd_config; then
    /usr/sbin/sshd -f /etc/ssh/sshd_config -E $state/.sshd.log
  fi
  [ ! -f /etc/rc.local ] || /bin/sh /etc/rc.local ;;
*) wrong "$@" ;;
esac
