import { KnoxError } from '../core/errors.ts'

/** Validity intervals of certificates, in seconds since 1970 as PROTOCOL.certkeys has them. */

export interface Validity {
  readonly after: bigint
  readonly before: bigint
}

const END_OF_TIME = 2n ** 64n - 1n
const LAST_PRINTABLE = BigInt(Date.UTC(9999, 11, 31, 23, 59, 59)) / 1000n
const DAY = 86_400n

/** `always` to `forever`, in the words of ssh-keygen(1). */
export const FOREVER: Validity = { after: 0n, before: END_OF_TIME }

/** The box has no clock battery: it boots in the past, and a certificate must not be "not yet valid" then. */
const LONG_AGO = BigInt(Date.UTC(2015, 0, 1)) / 1000n

const secondsOf = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000))

/** From 2015-01-01 to this many days from now. */
export const validFor = (days: number, now: Date): Validity => ({
  after: LONG_AGO,
  before: secondsOf(now) + BigInt(days) * DAY,
})

/** `365d` or `forever` from the command line; throws `usage` for anything else. */
export const parseValidity = (text: string, now: Date): Validity => {
  if (text === 'forever') return FOREVER
  const days = /^([1-9][0-9]{0,4})d$/.exec(text)?.[1]
  if (days === undefined)
    throw new KnoxError('usage', `${JSON.stringify(text)} is not a validity`, [
      'expected days such as 365d, or forever',
    ])
  return validFor(Number(days), now)
}

/** True from the second on in which sshd refuses the certificate. */
export const isExpired = ({ before }: Validity, now: Date): boolean => secondsOf(now) >= before

/** One end of an interval for people: a time in UTC, `always` or `forever`. */
export const formatEnd = (seconds: bigint): string => {
  if (seconds === 0n) return 'always'
  if (seconds > LAST_PRINTABLE) return 'forever'
  return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', 'Z')
}
