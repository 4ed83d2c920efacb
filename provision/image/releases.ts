import type { Board } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/**
 * What a FreeBSD branch means for the files of the box: data, and how to read it.
 * The rule of the tables: a word that an older program does not know keeps sshd from starting, and nobody is there to
 * mend it. So a branch stands here only if its version was seen, others take the next older one, and a word is given to
 * a version only from where it is known on. Newer programs still take the older words.
 */

/** Branches whose OpenSSH is known: from their own crypto/openssh/version.h, where it says so from the announcement. */
const OPENSSH: readonly (readonly [since: string, openssh: string])[] = [
  ['10.2', '6.6'], // 6.6.1p1
  ['10.4', '7.3'],
  ['11.2', '7.5'], // announcement
  ['12.0', '7.8'],
  ['13.2', '9.3'],
  ['14.0', '9.5'], // announcement
  ['14.4', '10.0'], // announcement
]

/** root's login shell in etc/master.passwd: forced commands go through it. */
const ROOT_SHELL: readonly (readonly [since: string, shell: string])[] = [
  ['10.2', '/bin/csh'],
  ['14.0', '/bin/sh'],
]

/** Host key types that rc.d/sshd makes by itself, beside ed25519, where their file is missing. */
const OTHER_HOST_KEYS: readonly (readonly [since: string, types: readonly string[]])[] = [
  ['10.2', ['rsa1', 'rsa', 'dsa', 'ecdsa']],
  ['12.0', ['rsa', 'dsa', 'ecdsa']],
]

interface Setting {
  /** the first OpenSSH that knows the line */
  readonly since: string
  /** the first OpenSSH that has another word for it */
  readonly until?: string
  readonly line: string
}

/** Lines of sshd_config(5) that only some versions know; the others stand in the template. */
const SSHD_SETTINGS: readonly Setting[] = [
  // from 8.7 on the old word is only another name of the new one; before, it was a switch of its own, and on
  { since: '6.6', until: '8.7', line: 'ChallengeResponseAuthentication no' },
  { since: '8.7', line: 'KbdInteractiveAuthentication no' },
  // certificates of Ed25519 keys only; before 7.0 TrustedUserCAKeys and AuthorizedKeysFile none have to do
  { since: '7.0', until: '8.5', line: 'PubkeyAcceptedKeyTypes ssh-ed25519-cert-v01@openssh.com' },
  { since: '8.5', line: 'PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com' },
  { since: '7.9', line: 'CASignatureAlgorithms ssh-ed25519' },
  { since: '6.7', line: 'AllowStreamLocalForwarding no' },
  { since: '7.4', line: 'DisableForwarding yes' },
  { since: '6.7', line: 'PermitUserRC no' },
  { since: '7.6', line: 'ExposeAuthInfo no' },
]

/** Key exchanges, best first. 6.6 knows curve25519 by its first name only, and every version still knows that one. */
const KEY_EXCHANGES: readonly (readonly [since: string, name: string])[] = [
  ['8.5', 'sntrup761x25519-sha512@openssh.com'],
  ['6.6', 'curve25519-sha256@libssh.org'],
]

/** Memory of the kernel and of ZFS, for machines with 512 MB. */
export interface Memory {
  /** vm.kmem_size, or false where the kernel's own choice is right */
  readonly kmemSize: string | false
  /** vfs.zfs.arc_max */
  readonly arcMax: string
}

const MEMORY: readonly (readonly [since: string, memory: Readonly<Record<Board, Memory>>])[] = [
  ['10.2', { 'rpi-b': { kmemSize: '180M', arcMax: '24M' }, laptop: { kmemSize: '150M', arcMax: '32M' } }],
  // OpenZFS (13) ignores less than 64M
  ['11.0', { 'rpi-b': { kmemSize: false, arcMax: '64M' }, laptop: { kmemSize: false, arcMax: '64M' } }],
]

/** What a branch means for the box's files. */
export interface Release {
  readonly branch: string
  /** the oldest OpenSSH that the branch can have */
  readonly openssh: string
  readonly rootShell: string
  /** the host key types whose generation must be switched off */
  readonly otherHostKeys: readonly string[]
  readonly keyExchanges: readonly string[]
  /** whole lines of sshd_config(5) */
  readonly sshdSettings: readonly string[]
  readonly memory: Readonly<Record<Board, Memory>>
}

/** The branches that are known by themselves, oldest first. */
export const KNOWN_BRANCHES: readonly string[] = OPENSSH.map(([since]) => `releng/${since}`)

/** True if version (`10.4`, `6.6`) is the wanted one or newer. */
export const isAtLeast = (version: string, wanted: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

const newestFor = <T>(table: readonly (readonly [since: string, value: T])[], version: string): T => {
  const row = table.findLast(([since]) => isAtLeast(version, since))
  if (row !== undefined) return row[1]
  throw new KnoxError('config', `knox does not know FreeBSD ${printable(version)}`, [
    `${KNOWN_BRANCHES[0] ?? ''} is the oldest branch it makes a box of`,
  ])
}

/** What a branch such as `releng/10.2` means; throws `config` for one before 10.2. */
export const releaseOf = (branch: string): Release => {
  const version = /^releng\/([0-9]+\.[0-9]+)$/.exec(branch)?.[1]
  if (version === undefined) throw new KnoxError('config', `${JSON.stringify(branch)} is not a branch`)
  const openssh = newestFor(OPENSSH, version)
  const knows = ({ since, until }: Setting) =>
    isAtLeast(openssh, since) && (until === undefined || !isAtLeast(openssh, until))
  return {
    branch,
    openssh,
    rootShell: newestFor(ROOT_SHELL, version),
    otherHostKeys: newestFor(OTHER_HOST_KEYS, version),
    keyExchanges: KEY_EXCHANGES.filter(([since]) => isAtLeast(openssh, since)).map(([, name]) => name),
    sshdSettings: SSHD_SETTINGS.filter(knows).map(({ line }) => line),
    memory: newestFor(MEMORY, version),
  }
}
