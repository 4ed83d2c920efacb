import { waitUntil } from '../../provision/lab/monitor.ts'
import { mustRun, type Pair } from '../../provision/lab/pair.ts'

/** What is done to the two machines, and what puts it right again from outside: never a command of knox. */

export type Injury = (pair: Pair) => Promise<unknown>

const SILENT = 'tc qdisc replace dev lab0 root netem loss 100%'

/** the link of the lab: slow enough that there is a middle of a stream */
export const slowLink: Injury = (pair) =>
  mustRun(pair.home, 'tc qdisc replace dev lab0 root netem rate 12mbit limit 100')

/** Every packet is dropped, on both sides; nobody is told. */
export const silence: Injury = async (pair) => {
  await Promise.all([mustRun(pair.home, SILENT), mustRun(pair.box(), SILENT)])
}

/** Every connection to the box is reset. */
export const reset: Injury = (pair) => mustRun(pair.home, 'modprobe tcp_diag; ss -K dst 10.77.0.2 >/dev/null')

/** The link is as fast and as good as it can be. */
export const goodLink: Injury = async (pair) => {
  await mustRun(pair.home, 'tc qdisc del dev lab0 root 2>/dev/null || :')
  if (pair.box().isOn()) await mustRun(pair.box(), 'tc qdisc del dev lab0 root 2>/dev/null || :')
}

export const powerCut: Injury = (pair) => pair.box().cut()

export const switchOn: Injury = (pair) => pair.switchOn()

/** Switched off if it is still on, and on again. */
export const powerCycle: Injury = async (pair) => {
  await pair.box().cut()
  await pair.switchOn()
}

export const pullDisk: Injury = (pair) => pair.pull()

export const plugDisk: Injury = async (pair) => {
  await pair.plug()
  const isThere = async () => (await pair.box().run('[ -e /dev/da0 ]')).exitCode === 0
  if (!(await waitUntil(isThere, 60))) throw new Error('the disk did not come back')
}

const table = (text: string): string =>
  [
    'set -e',
    'export DM_DISABLE_UDEV=1',
    'disk=$(ls /sys/block | grep "^sd" | tail -n 1)',
    `echo "0 $(blockdev --getsz /dev/$disk) ${text}" | dmsetup load da0`,
    'dmsetup suspend --noflush --nolockfs da0; dmsetup resume da0',
  ].join('\n')

/** Writes to the disk fail from now on; reads go well (dm-flakey: down for ever, error_writes). */
export const writesFail: Injury = (pair) =>
  mustRun(pair.box(), `modprobe dm-flakey || exit; ${table('flakey /dev/$disk 0 0 86400 1 error_writes')}`)

/** The disk is whole again; a box that restarts, since it could not export the pool, comes up with it. */
export const writesGoWell: Injury = async (pair) => {
  if (pair.box().isOn()) await mustRun(pair.box(), table('linear /dev/$disk 0'))
  else await pair.switchOn()
}

/** kill -9 of whatever has this in its command line; it must be there, or come soon. */
export const kill =
  (side: 'home' | 'box', pattern: string): Injury =>
  (pair) =>
    mustRun(
      side === 'home' ? pair.home : pair.box(),
      `n=0; until pkill -KILL -f '${pattern}'; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; sleep 0.02; done`,
    )

/** One after the other. */
export const inTurn =
  (...injuries: readonly Injury[]): Injury =>
  async (pair) => {
    for (const injury of injuries) await injury(pair)
  }

export const atHomeRun =
  (line: (pair: Pair) => string): Injury =>
  (pair) =>
    mustRun(pair.home, line(pair))

export const onBoxRun =
  (line: (pair: Pair) => string): Injury =>
  (pair) =>
    mustRun(pair.box(), line(pair))
