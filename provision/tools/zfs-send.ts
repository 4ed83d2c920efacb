import type { Read } from '../core/command.ts'
import { FAILURES } from './zfs.ts'

/** zfs send (zfs-send(8)), as it is on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure: builds commands, parses output. */

/** What one stream carries: everything of the first snapshot, or all between two. */
export interface SendRange {
  readonly dataset: string
  /** incremental source, undefined for a full stream */
  readonly from: string | undefined
  readonly to: string
}

/** -p: properties travel. -I: every snapshot in between. No -R: one dataset a stream, nothing is deleted or renamed. */
const sendWords = ({ dataset, from, to }: SendRange): readonly string[] => [
  '-p',
  ...(from === undefined ? [] : ['-I', `@${from}`]),
  `${dataset}@${to}`,
]

/** The argv of a send that tells its progress on stderr (-P -v). */
export const sendArgv = (range: SendRange): readonly string[] => [
  'zfs',
  'send',
  '-P',
  '-v',
  ...sendWords(range),
]

/**
 * Bytes that `zfs send -nP` estimates. 10.2 prints to stderr, 10.4 and later to stdout, so both are joined by the shell.
 * The last line is `size<TAB>bytes`; undefined where none is printed.
 */
export const estimateSend = (range: SendRange): Read<number | undefined> => ({
  effect: 'read',
  argv: ['sh', '-c', 'exec "$@" 2>&1', 'sh', 'zfs', 'send', '-n', '-P', ...sendWords(range)],
  parse: (stdout) => {
    const size = /^size\t([0-9]+)$/m.exec(stdout)?.[1]
    return size === undefined ? undefined : Number(size)
  },
  failures: FAILURES,
})

/** Bytes sent so far, from the progress lines `HH:MM:SS<TAB>bytes<TAB>snapshot`; undefined if the text holds none. */
export const parseProgress = (
  stderr: string,
): { readonly snapshot: string; readonly bytes: number } | undefined => {
  const last = [...stderr.matchAll(/^[0-9]{2}:[0-9]{2}:[0-9]{2}\t([0-9]+)\t(.+)$/gm)].at(-1)
  return last?.[1] === undefined || last[2] === undefined
    ? undefined
    : { bytes: Number(last[1]), snapshot: last[2] }
}

/** True for a line `full<TAB>...` or `incremental<TAB>...`, which -P -v prints for each snapshot before it sends. */
export const announcesSnapshot = (line: string): boolean => /^(?:full|incremental)\t/.test(line)

/** -t stands alone: the token says what the stream is, where it stopped, and with which options. */
export const resumeArgv = (token: string): readonly string[] => ['zfs', 'send', '-P', '-v', '-t', token]

/** Where an interrupted receive stopped, as its token tells. */
export interface ResumePoint {
  /** dataset@snapshot at home, by the name it had when it was sent */
  readonly snapshot: string
  /** of the snapshot, decimal */
  readonly guid: string
  /** bytes still to come, estimated; undefined where zfs does not say */
  readonly bytes: number | undefined
}

/** words that say for good that nothing can go on from a token: what it is of is gone, or this zfs knows no tokens (FreeBSD 10.2) */
const NOTHING_TO_GO_ON =
  /no longer exists|no longer the same|does not exist|token is corrupt|corrupt token|invalid option 't'/

/** stdout and stderr are one, and what fails says so on stderr */
const JOINED = String.raw`said=$("$@" 2>&1); code=$?; [ "$code" -eq 0 ] || exec >&2; printf "%s\n" "$said"; exit "$code"`

/**
 * What a token of the box stands for, read by home's own zfs. Throws `diverged` where zfs says that nothing can go on from it, as when
 * the snapshot is no longer at home, and something else where it only gave no answer; undefined for an answer that is none.
 */
export const readToken = (token: string): Read<ResumePoint | undefined> => ({
  effect: 'read',
  argv: ['sh', '-c', JOINED, 'sh', 'zfs', 'send', '-n', '-P', '-v', '-t', token],
  parse: (stdout) => {
    const guid = /^\s*toguid = (0x[0-9a-f]{1,16})$/m.exec(stdout)?.[1]
    const snapshot = /^\s*toname = (.+)$/m.exec(stdout)?.[1]
    const size = /^size\t([0-9]+)$/m.exec(stdout)?.[1]
    if (guid === undefined || snapshot === undefined) return undefined
    return {
      snapshot,
      guid: BigInt(guid).toString(),
      bytes: size === undefined ? undefined : Number(size),
    }
  },
  failures: [
    { pattern: NOTHING_TO_GO_ON, code: 'diverged', message: 'nothing can go on from this token' },
    ...FAILURES,
  ],
})
