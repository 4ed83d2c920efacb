/** What `zpool status -v POOL` tells, on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure. */

export interface PoolHealth {
  /** ONLINE, DEGRADED ... */
  readonly state: string
  readonly scrub: 'none' | 'running' | 'paused' | 'stopped' | 'finished'
  /** of a running or paused scrub */
  readonly percent: number | undefined
  /** errors that the last finished scrub could not repair */
  readonly errors: number
  /** files that are damaged for good, or other words of zpool if it names none; and devices with errors, even if all was repaired */
  readonly damaged: readonly string[]
}

const SCRUBS: readonly (readonly [RegExp, PoolHealth['scrub']])[] = [
  [/^scrub in progress/, 'running'],
  [/^scrub paused/, 'paused'],
  [/^scrub canceled/, 'stopped'],
  [/^scrub repaired/, 'finished'],
]

const NO_ERRORS = 'No known data errors'

/** Devices whose errors ZFS has counted since the import: the first sign of a disk that dies, also where another copy helped. */
const failingDevices = (lines: readonly string[], pool: string): readonly string[] =>
  lines.flatMap((line) => {
    const row = /^\s+(\S+)\s+[A-Z]+\s+([0-9]\S*)\s+([0-9]\S*)\s+([0-9]\S*)/.exec(line)
    const [, name = '', read = '', write = '', checksum = ''] = row ?? []
    if (row === null || name === pool || [read, write, checksum].every((count) => count === '0')) return []
    return [`${name}: errors: ${read} reading, ${write} writing, ${checksum} in checksums`]
  })

/** Reads the lines of `zpool status -v` of one pool. */
export const parsePoolStatus = (lines: readonly string[]): PoolHealth => {
  const text = lines.join('\n')
  const field = (name: string) => new RegExp(`^ *${name}: *(.*)$`, 'm').exec(text)?.[1]?.trim() ?? ''
  const scan = field('scan')
  const percent = /([0-9]+(?:\.[0-9]+)?)% done/.exec(text)?.[1]
  const said = field('errors')
  const named = text
    .split(/^errors: /m)
    .at(-1)
    ?.split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const files = said === NO_ERRORS || said === '' ? [] : named?.length ? named : [said]
  return {
    state: field('state'),
    scrub: SCRUBS.find(([pattern]) => pattern.test(scan))?.[1] ?? 'none',
    percent: percent === undefined ? undefined : Number(percent),
    errors: Number(/with ([0-9]+) errors/.exec(scan)?.[1] ?? '0'),
    damaged: [...failingDevices(lines, field('pool')), ...files],
  }
}
