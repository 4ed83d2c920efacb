import { setTimeout as sleep } from 'node:timers/promises'
import { KnoxError } from '../core/errors.ts'
import { openChannel, type Result } from '../system/process.ts'
import { lost, silent } from './session-failures.ts'

/** A stream from the box into a program at home, joined by the kernel. */

export interface Poured {
  readonly sent: Result
  readonly received: Result
  /** the receiver gave up by itself: whatever became of the sender is its doing */
  readonly isRefused: boolean
}

export interface Watch {
  readonly onStderr: (text: string) => void
  /** seconds for which nothing has moved */
  readonly idleSeconds: () => number
  /** seconds of that after which the stream is given up */
  readonly stalled: number
  /** for the error: such as `while it sent the files` */
  readonly what: string
  /** and what to do then */
  readonly hint?: string
}

const FULL = /out of space|No space left|quota exceeded/i

/** milliseconds that a receiver is given to end by itself after a sender that failed */
const LAST_WORDS = 1500

const after = (milliseconds: number): Promise<false> => sleep(milliseconds, false, { ref: false })

const isPipeEnd = ({ signal, exitCode }: Result): boolean => signal === 'SIGPIPE' || exitCode === 141

/**
 * Runs `from` (ssh into the box) into `into`, to the end of both. Throws `connection-lost` if the connection broke or nothing
 * has moved for too long; what else failed is for the caller to tell.
 */
export const pour = async (
  from: readonly string[],
  into: readonly string[],
  { onStderr, idleSeconds, stalled, what, hint }: Watch,
): Promise<Poured> => {
  const receiver = openChannel(into)
  const feed = receiver.feed(from, onStderr)
  const stall = new AbortController()
  const look = () => {
    if (idleSeconds() <= stalled) return
    stall.abort()
    feed.kill()
    receiver.kill()
  }
  const timer = setInterval(look, Math.min(5000, stalled * 250))
  try {
    // the receiver gets no end of input before end(): if it fails until then, it does so by itself
    const failure = receiver.ended.then(({ exitCode }) => exitCode !== 0)
    if (await Promise.race([failure, feed.ended.then(() => false)])) feed.kill()
    const sent = await feed.ended
    // a receiver that fails breaks the sender's pipe, and its own end may be told after the sender's
    const failedFirst = await Promise.race([failure, after(sent.exitCode === 0 ? 0 : LAST_WORDS)])
    receiver.end()
    const received = await receiver.ended
    const isRefused =
      failedFirst || (received.exitCode !== 0 && (isPipeEnd(sent) || FULL.test(received.stderr)))
    if (stall.signal.aborted) throw silent(stalled, what, hint)
    if (sent.exitCode === 255 && !isRefused) throw lost(what, hint)
    return { sent, received, isRefused }
  } finally {
    clearInterval(timer)
  }
}

/** `no-space` if that is what a receiver said, else the code that is given. */
export const receiverFailure = (
  { stderr }: Result,
  code: 'failed' | 'receive-failed',
  message: string,
  hints: readonly string[],
): KnoxError =>
  FULL.test(stderr)
    ? new KnoxError('no-space', message, [...hints, 'there is no room at home'])
    : new KnoxError(code, message, hints)
