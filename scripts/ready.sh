#!/bin/sh
# ready.sh [npm]: makes a clone ready to run: the npm packages always; the lab's Debian packages where it may.
# It says first what it installs; with everything there it takes no time and changes nothing.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)

# shellcheck disable=SC3013  # dash, ash and FreeBSD's sh all know -nt
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo 'installing the npm packages (npm ci) ...' >&2
  npm ci --no-audit --no-fund >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    exit 1
  }
  touch node_modules/.package-lock.json
fi
[ "${1:-}" = npm ] && exit 0

packages=$(cat provision/lab/packages.txt)
missing=''
if command -v dpkg-query >/dev/null 2>&1; then
  for package in $packages; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
      'install ok installed') ;;
      *) missing="$missing $package" ;;
    esac
  done
else
  echo 'knox: the lab needs Debian; its tests are skipped here' >&2
  exit 0
fi
module_is_there() {
  for module in /lib/modules/*/updates/dkms/zfs.ko; do [ -e "$module" ] && return 0; done
  return 1
}
if [ -z "$missing" ] && module_is_there; then exit 0; fi

# zfs is in Debian's `contrib`: a source file of its own, made of the lines the system has already
source=/etc/apt/sources.list.d/knox-lab
make_source() {
  if apt-cache show zfs-dkms >/dev/null 2>&1; then return; fi
  if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    sed 's/^Components:.*/Components: contrib/' /etc/apt/sources.list.d/debian.sources >"$source.sources"
  else
    sed -n 's/^\(deb [^#]*\) main.*/\1 contrib/p' /etc/apt/sources.list >"$source.list"
  fi
  apt-get update
}
install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -ne 0 ]; then
  echo "knox: the lab needs these packages; as root, with Debian's contrib enabled: $install" >&2
  exit 0
fi
echo "installing the lab's Debian packages (a few minutes, once):$missing" >&2
(
  set -e
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  make_source
  # shellcheck disable=SC2086  # a list of packages
  apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends $missing
) >"$log" 2>&1 || {
  tail -n 30 "$log" >&2
  echo "knox: error: the packages could not be installed; the whole story is in $log" >&2
  exit 1
}
if ! module_is_there; then
  for kernel in /lib/modules/*; do dkms autoinstall -k "$(basename "$kernel")" >>"$log" 2>&1 || :; done
fi
module_is_there || {
  tail -n 30 "$log" >&2
  echo "knox: error: the zfs module was not built; see $log" >&2
  exit 1
}
