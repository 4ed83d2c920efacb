import { setTimeout as sleep } from 'node:timers/promises'

/** A healthcheck, such as healthchecks.io: GET of its address, with /start or /fail. https://healthchecks.io/docs/http_api/ */

export type Ping = 'start' | 'success' | 'fail'

/** milliseconds for all tries together */
const LIMIT = 10_000
const TRIES = 3
const BETWEEN = 1000

/** The address of a ping; what stands behind a ? stays there. */
export const pingAddress = (ping: string, what: Ping): URL => {
  const url = new URL(ping)
  if (what !== 'success') url.pathname = `${url.pathname.replace(/\/+$/, '')}/${what}`
  return url
}

const reasonOf = (error: unknown, signal: AbortSignal): string => {
  if (signal.aborted) return 'no answer within the time'
  const { cause } = error as { cause?: { code?: unknown } }
  return typeof cause?.code === 'string' ? cause.code : 'no connection'
}

/**
 * Sends one ping, within `limit` milliseconds; undefined, or why it did not work. The address is as good as a password and
 * is never part of that. fetch itself follows redirects to http and https only.
 */
export const sendPing = async (ping: string, what: Ping, limit = LIMIT): Promise<string | undefined> => {
  const signal = AbortSignal.timeout(limit)
  let reason = ''
  for (let n = 1; n <= TRIES; n += 1) {
    try {
      const answer = await fetch(pingAddress(ping, what), { signal, redirect: 'follow' })
      await answer.body?.cancel()
      if (answer.ok) return undefined
      reason = `it answers ${answer.status}`
      // what is not there now will not be in a second
      if (answer.status < 500) return reason
    } catch (error) {
      reason = reasonOf(error, signal)
    }
    if (signal.aborted || n === TRIES) break
    await sleep(BETWEEN, undefined, { signal }).catch(() => undefined)
  }
  return reason
}
