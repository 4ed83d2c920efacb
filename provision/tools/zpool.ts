import type { Change, Read } from '../core/command.ts'
import { FAILURES } from './zfs.ts'

/** zpool(8) on the box, FreeBSD 10.2 and later. */

/**
 * The pool on the encrypted provider: the tutorial's properties, but never mounted, never imported by itself
 * (cachefile=none), and a lost USB disk makes errors instead of hanging everything (failmode=continue).
 */
export const zpoolCreate = (pool: string, provider: string): Change => ({
  effect: 'change',
  argv: [
    ...['zpool', 'create', '-m', 'none', '-o', 'cachefile=none', '-o', 'failmode=continue'],
    ...['-O', 'atime=off', '-O', 'compression=lz4', '-O', 'canmount=off', pool, provider],
  ],
})

/** The imported pools of this machine. */
export const poolNames: Read<readonly string[]> = {
  effect: 'read',
  argv: ['zpool', 'list', '-H', '-o', 'name'],
  failures: FAILURES,
  parse: (stdout) => stdout.split('\n').filter((line) => line !== ''),
}

export interface PoolSummary {
  /** ONLINE, DEGRADED ... */
  readonly health: string
  /** per cent in use */
  readonly capacity: number
}

/** How a pool of this machine is; 10.2 and later say the capacity as `12%`. */
export const poolSummary = (pool: string): Read<PoolSummary> => ({
  effect: 'read',
  argv: ['zpool', 'list', '-H', '-o', 'health,capacity', pool],
  failures: FAILURES,
  parse: (stdout) => {
    const [, health = 'unknown', capacity = 'NaN'] = /^(\S+)\t([0-9]+)%?$/m.exec(stdout) ?? []
    return { health, capacity: Number(capacity) }
  },
})

/** As a session imports it: nothing is mounted. */
export const zpoolImport = (pool: string): Change => ({
  effect: 'change',
  argv: ['zpool', 'import', '-f', '-N', '-R', '/var/run/knox/mnt', '-o', 'cachefile=none', pool],
})

export const zpoolExport = (pool: string): Change => ({ effect: 'change', argv: ['zpool', 'export', pool] })

/**
 * The imported pools, and the names below each in its `config` table: vdevs such as `mirror-0` and devices alike.
 * FreeBSD: `zpool` alone would load the zfs module, so it is asked for first.
 */
export const poolMembers: Read<ReadonlyMap<string, readonly string[]>> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'if kldstat -q -m zfs; then zpool status; fi'],
  parse: (stdout) =>
    new Map(
      stdout
        .split(/^ *pool: /m)
        .slice(1)
        .map((part) => {
          const [pool = ''] = part.split('\n')
          const [table = ''] = part.split(/^\s+NAME\s+STATE.*\n/m).slice(1)
          const rows = table.split(/^errors:|^\s*$/m)[0] ?? ''
          return [pool.trim(), rows.split('\n').flatMap((row) => row.trim().split(/\s+/)[0] || [])] as const
        }),
    ),
}
