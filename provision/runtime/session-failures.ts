import { KnoxError, type ErrorCode } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import type { Result } from '../system/process.ts'
import { failureOf } from '../system/runner.ts'
import { SSH_FAILURES } from '../tools/ssh.ts'

/** What the box's lines, and the ends of ssh and of zfs send, mean to the owner. */

const REASONS: Readonly<
  Record<string, { readonly code: ErrorCode; readonly message: string; readonly hint: string }>
> = {
  busy: {
    code: 'busy',
    message: 'the box is busy with another session',
    hint: 'an interrupted one ends by itself within two minutes',
  },
  key: {
    code: 'key-rejected',
    message: 'the disk was not unlocked',
    hint: 'is geli.key in the key folder the key of this disk?',
  },
  disk: { code: 'disk', message: 'the box’s disk cannot be used', hint: 'is it plugged in and powered?' },
  pool: {
    code: 'disk',
    message: 'the pool on the box’s disk cannot be used',
    hint: 'the backup may well be on it: try again, or look at it on another machine (docs/rescue.md); knox prepare-disk is for a disk that never held one',
  },
  receive: {
    code: 'receive-failed',
    message: 'zfs receive failed on the box',
    hint: 'what arrived before is kept; the next run goes on from there',
  },
  space: {
    code: 'no-space',
    message: 'the box’s disk is full',
    hint: 'a larger disk, or fewer datasets (home.exclude in knox.yaml)',
  },
  refused: {
    code: 'receive-failed',
    message: 'the box refuses',
    hint: 'home and box see it differently: run it again',
  },
  limit: {
    code: 'refused',
    message: 'the box destroys no more today',
    hint: 'it goes on tomorrow; so nobody can empty it in a night',
  },
  usage: {
    code: 'failed',
    message: 'the box does not understand this knox',
    hint: 'is its knox-zfs-receive.sh of another version?',
  },
  lock: {
    code: 'left-unlocked',
    message: 'the box could not lock its disk',
    hint: 'it restarts by itself, which takes the key from its memory; if knox backup does not find it in some minutes, switch it off and on again',
  },
}

/** The error that a line `failed REASON TEXT` of the box means. */
export const failureOfLine = (line: string): KnoxError | undefined => {
  const match = /^failed ([a-z]+) ?(.*)$/.exec(line)
  if (match === null) return undefined
  const [, reason = '', text = ''] = match
  const own = Object.hasOwn(REASONS, reason) ? REASONS[reason] : undefined
  const known = own ?? { code: 'failed', message: `the box failed (${reason})`, hint: '' }
  const evidence = text === '' ? '' : `: ${printable(text).slice(0, 400)}`
  return new KnoxError(known.code, `${known.message}${evidence}`, known.hint === '' ? [] : [known.hint])
}

const AGAIN = 'run it again, it goes on from what arrived'

export const lost = (what: string, hint = AGAIN): KnoxError =>
  new KnoxError('connection-lost', `the connection to the box broke ${what}`, [
    `the box locks its disk by itself; ${hint}`,
  ])

export const silent = (seconds: number, what: string, hint = AGAIN): KnoxError =>
  new KnoxError('connection-lost', `the box did not answer for ${seconds} s ${what}`, [
    `the box locks its disk by itself; ${hint}`,
  ])

export const isLost = (error: unknown): error is KnoxError =>
  error instanceof KnoxError && error.code === 'connection-lost'

export const unexpected = (line: string, what: string): KnoxError =>
  new KnoxError('verification', `the box said something unexpected ${what}: ${printable(line).slice(0, 200)}`)

/** What ssh said, for a connection that it could not make. */
export const sshFailure = (end: Result): KnoxError => {
  const error = failureOf(end, SSH_FAILURES)
  return error.code === 'failed' && end.exitCode === 255
    ? new KnoxError('unreachable', error.message, error.hints)
    : error
}

/** Why the disk was not unlocked: by the end of the connection that brought the key, where that explains what the session saw. */
export const keyFailure = (sent: Result, seen: unknown): unknown => {
  const noKeyCame = seen instanceof KnoxError && seen.code === 'key-rejected'
  if (!noKeyCame && !isLost(seen)) return seen
  if (sent.exitCode === 255 && sent.stderr.trim() !== '') return sshFailure(sent)
  // ssh has no words for a peer that was killed: of the key nothing may have come, or half
  const isCut = sent.exitCode === null || sent.exitCode === 255
  return isCut || (isLost(seen) && sent.exitCode !== 0) ? lost('while the key was sent') : seen
}

/** Why there was no hello: ssh's own reason, no script on the box, or no answer in time. */
export const noHello = (end: Result, cause: KnoxError): KnoxError => {
  const wasKilled = end.signal !== null || end.stderr.includes('Killed by signal')
  if (end.exitCode === 255 && !wasKilled) return sshFailure(end)
  const said = printable(end.stderr.trim()).slice(0, 400)
  const hints = said === '' ? [] : [`it said: ${said}`]
  if (end.exitCode === 127 && end.stderr.includes('ENOENT')) return failureOf(end, [])
  if (end.exitCode === 126 || end.exitCode === 127)
    return new KnoxError('platform', 'the box has no knox-zfs-receive.sh that runs', [
      ...hints,
      'knox render writes the box’s files',
    ])
  return new KnoxError(wasKilled ? 'unreachable' : 'connection-lost', cause.message, [
    ...hints,
    ...cause.hints,
  ])
}

const isPipeEnd = (sent: Result): boolean =>
  sent.signal === 'SIGPIPE' || /Broken pipe|EPIPE|Connection reset|ECONNRESET/i.test(sent.stderr)

/** Why zfs send ended; `where` it ran. */
export const sendFailure = (sent: Result, dataset: string, where = 'at home'): KnoxError => {
  const reason = sent.stderr
    .split('\n')
    .filter((line) => line !== '' && !line.includes('\t'))
    .join(' / ')
  const how = sent.signal ?? `exit ${String(sent.exitCode)}`
  return new KnoxError('send-failed', `zfs send failed ${where} for ${dataset} (${how})`, [
    ...(reason === '' ? [] : [`it said: ${printable(reason).slice(0, 400)}`]),
    'what arrived before is kept; the next run goes on from there',
  ])
}

/** The guid in a line `ok GUID`. */
export const guidIn = (line: string): string | undefined => /^ok ([0-9]{1,20})$/.exec(line)?.[1]

/** Whose fault it is that a stream did not arrive: the sender's, unless the box stopped reading, or is left unlocked. */
export const blame = (sent: Result, verdict: KnoxError, dataset: string): KnoxError =>
  sent.exitCode === 0 || isPipeEnd(sent) || verdict.code === 'left-unlocked'
    ? verdict
    : sendFailure(sent, dataset)
