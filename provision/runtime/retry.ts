import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { pause } from '../system/process.ts'

/** seconds before the first retry; each further one waits twice as long, up to the longest */
const FIRST = 5
const LONGEST = 120

/** Seconds to wait before a retry; 0 is the first. */
export const backOff = (retry: number): number => Math.min(FIRST * 2 ** retry, LONGEST)

/** A broken connection; after it also a box that has not noticed yet, or does not answer yet. */
const isPassing = (error: unknown, before: unknown): boolean =>
  error instanceof KnoxError &&
  (error.code === 'connection-lost' ||
    (before !== undefined && (error.code === 'unreachable' || error.code === 'busy')))

/**
 * Does work again when its connection broke, `retries` times at the most, with growing pauses. A box that cannot be reached
 * at the first try is no broken connection. Throws the last broken connection, or whatever else ended the work.
 */
export const withRetries = async <T>(
  retries: number,
  emit: Emit,
  work: () => Promise<T>,
  wait: (seconds: number) => Promise<unknown> = pause,
): Promise<T> => {
  let broken: unknown
  for (let retry = 0; ; retry += 1) {
    try {
      return await work()
    } catch (error) {
      if (!isPassing(error, broken)) throw error
      if (error instanceof KnoxError && error.code === 'connection-lost') broken = error
      if (retry >= retries) throw broken
      const seconds = backOff(retry)
      emit({ type: 'note', text: `${messageOf(error)}; trying again in ${seconds} s` })
      await wait(seconds)
    }
  }
}
