import { createHash } from 'node:crypto'
import type { Change, Read } from '../core/command.ts'
import { BOX_SCRIPT } from '../core/keys.ts'

/** A new script for a box that runs: sh(1), sha256(1), fsync(1) and mount(8) of FreeBSD 10.2 and later. */

/** on the box's memory disk */
const UPLOAD = '/var/run/knox-script.new'

export const sha256Of = (text: string): string => createHash('sha256').update(text).digest('hex')

// Linux has the other program
const SUM = `sum() { if command -v sha256 >/dev/null 2>&1; then sha256 -q "$1"; else sha256sum "$1" | cut -d ' ' -f 1; fi; }`
const PATH = 'PATH=${PATH:-}:/sbin:/bin:/usr/sbin:/usr/bin; export PATH'

/**
 * install UPLOAD TARGET SHA256. One function, so that a connection that ends early runs none of it, and a late end stops none
 * of it: a root that was read-only is so again whatever fails. The new file is whole and on the disk before it gets its name.
 */
const INSTALLER = `
set -u
umask 077
${PATH}
trap '' PIPE HUP
die() { echo "knox: $*" >&2; exit 1; }
${SUM}
durable() { fsync "$1" 2>/dev/null || sync; }
put() {
  rm -f "$2.new" && cat "$1" >"$2.new" && chmod 700 "$2.new" && durable "$2.new" &&
    [ "$(sum "$2.new")" = "$3" ] && mv -f "$2.new" "$2" && durable "\${2%/*}"
}
install() {
  [ "$(sum "$1")" = "$3" ] || die 'the script did not arrive whole'
  sh -n "$1" || die 'the script is none'
  remounted=no
  if [ ! -w "\${2%/*}" ]; then
    mount -uw / || die 'the root cannot be mounted for writing'
    remounted=yes
  fi
  put "$1" "$2" "$3"
  status=$?
  rm -f "$1" "$2.new"
  if [ "$remounted" = yes ]; then
    sync
    for attempt in 1 2 3 4 5; do
      mount -ur / && break
      sleep 1
    done
  fi
  [ "$status" = 0 ] || die "$2 cannot be written"
}
install "$@"
exit 0
`

/** The changes that put a new script in the place of the box's own; words that csh reads as sh does, too. */
export const replaceBoxScript = (text: string): readonly Change[] => [
  {
    effect: 'change',
    argv: ['/bin/sh', '-c', 'umask 077 && cat > "$1"', 'sh', UPLOAD],
    stdin: text,
  },
  {
    effect: 'change',
    argv: ['/bin/sh', '-s', UPLOAD, BOX_SCRIPT, sha256Of(text)],
    stdin: INSTALLER,
    failures: [
      {
        pattern: /^knox: the script did not arrive whole/m,
        code: 'verification',
        message: 'the new script did not reach the box whole; the old one is in place',
      },
      {
        pattern: /^knox: /m,
        code: 'failed',
        message: 'the box’s script could not be replaced; the old one is in place',
      },
    ],
  },
]

/** SHA-256 of the box's script in hex; empty if there is none. */
export const boxScriptSum: Read<string> = {
  effect: 'read',
  argv: ['/bin/sh', '-s', BOX_SCRIPT],
  stdin: `${PATH}\n${SUM}\n[ -e "$1" ] || exit 0\nsum "$1"\n`,
  parse: (stdout) => stdout.trim(),
}

/** The disk that the box's script unlocks; undefined if there is no script that names one. */
export const boxScriptDisk: Read<string | undefined> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'sed -n \'/^disk=/p\' "$1" 2>/dev/null || :', 'sh', BOX_SCRIPT],
  parse: (stdout) => /^disk='([^'\n]+)'$/m.exec(stdout)?.[1],
}

/** True if the folder of the box's script can be written to, which a read-only root cannot. */
export const canWriteScript: Read<boolean> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'if [ -w "$1" ]; then echo yes; else echo no; fi', 'sh', '/root'],
  parse: (stdout) => stdout.trim() === 'yes',
}
