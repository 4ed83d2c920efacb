import type { Running } from '../../provision/lab/machine.ts'
import { waitUntil } from '../../provision/lab/monitor.ts'
import { mustRun, type Pair } from '../../provision/lab/pair.ts'

/** When a fault comes: each waits for its moment in a run that is under way, and throws if the moment does not come. */

/** A run that is under way, and the bytes of the stream that it sends. */
export interface Underway {
  readonly pair: Pair
  readonly run: Running
  readonly streamBytes: number
}

export type Moment = (underway: Underway) => Promise<unknown>

const SECONDS = 120

/** knox has said this. */
export const says =
  (pattern: RegExp): Moment =>
  async ({ run }) => {
    if (!(await waitUntil(async () => pattern.test(await run.said()), SECONDS)))
      throw new Error(`knox never said ${String(pattern)}: ${await run.said()}`)
  }

const untilTrue = (condition: string): string =>
  `n=0; until ${condition}; do n=$((n + 1)); [ $n -lt 4000 ] || exit 1; sleep 0.03; done`

/** A shell condition holds on the box. */
export const onBox =
  (condition: string): Moment =>
  ({ pair }) =>
    mustRun(pair.box(), untilTrue(condition), SECONDS)

/** A shell condition holds at home. */
export const atHome =
  (condition: string): Moment =>
  ({ pair }) =>
    mustRun(pair.home, untilTrue(condition), SECONDS)

/** ssh has its connection, and nothing has been said over it. */
export const handshake = atHome("ss -Htn state established dst 10.77.0.2 | grep -q ':22'")

/** the box waits for the key */
export const unlocking = onBox('[ -p /var/run/knox/key ]')

export const listing = says(/the disk is unlocked/)

/** all has arrived, and the box is asked what it holds */
export const proving = says(/^sent /m)

export const locking = says(/locking the disk/)

/** So much of the stream has left home. */
export const sent =
  (part: number): Moment =>
  async (underway) => {
    await says(/^sending [0-9]+ streams/m)(underway)
    const { home } = underway.pair
    const before = Number(await mustRun(home, 'cat /sys/class/net/lab0/statistics/tx_bytes'))
    const wanted = Math.round(before + part * underway.streamBytes)
    if (part > 0)
      await atHome(`{ read -r bytes </sys/class/net/lab0/statistics/tx_bytes; [ "$bytes" -ge ${wanted} ]; }`)(
        underway,
      )
  }
