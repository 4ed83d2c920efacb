import type { Change, Read } from '../core/command.ts'

/**
 * The accounts of a system that is not running, by pwd_mkdb(8) of FreeBSD 10.2 and later. pw(8) is not used: with -V
 * 10.2's asks the host's own database whether a uid is known, and it leaves a field alone that starts with a `*`,
 * `*LOCKED*` too, which keeps sshd from letting anybody in.
 */

/** one line: it may pass through csh */
const CLOSE_ACCOUNTS = [
  'set -e',
  'cd "$1"',
  'umask 077',
  // an earlier run that was killed leaves them, and pwd_mkdb does not go on where they are
  'rm -f pwd.db.tmp spwd.db.tmp knox.passwd knox.passwd.orig',
  `awk -F: -v OFS=: '/^[^#+-]/ && NF > 9 { $2 = "*" } { print }' master.passwd > knox.passwd`,
  'pwd_mkdb -p -d "$1" knox.passwd',
  'chmod 600 master.passwd spwd.db',
].join('; ')

/** Sets every account's password field to `*` and makes the four files of an /etc from that; certificates still work. */
export const closeAccounts = (etc: string): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', CLOSE_ACCOUNTS, 'sh', etc],
})

export interface Account {
  readonly name: string
  readonly uid: string
  /** a star, a hash, or nothing: never to be shown */
  readonly password: string
}

/** The accounts in master.passwd. */
export const accounts = (etc: string): Read<readonly Account[]> => ({
  effect: 'read',
  argv: ['cat', `${etc}/master.passwd`],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [name = '', password = '', uid = '', ...rest] = line.split(':')
      return /^[^#+-]/.test(line) && rest.length === 7 ? [{ name, password, uid }] : []
    }),
})

/** spwd.db, the one that login and sshd read. No program of 10.2 shows one that is not the host's own. */
export const secureDatabase = (etc: string): Read<Buffer> => ({
  effect: 'read',
  argv: ['od', '-An', '-v', '-tx1', `${etc}/spwd.db`],
  parse: (stdout) => Buffer.from(stdout.replaceAll(/\s+/g, ''), 'hex'),
})
