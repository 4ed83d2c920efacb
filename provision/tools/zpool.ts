import type { Change } from '../core/command.ts'

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

/** As a session imports it: nothing is mounted. */
export const zpoolImport = (pool: string): Change => ({
  effect: 'change',
  argv: ['zpool', 'import', '-f', '-N', '-R', '/var/run/knox/mnt', '-o', 'cachefile=none', pool],
})

export const zpoolExport = (pool: string): Change => ({ effect: 'change', argv: ['zpool', 'export', pool] })
