import type { Change, Read } from '../core/command.ts'

/** zfs-allow(8), as on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure. */

/** what backups need of home's pool; `hold` also for the temporary holds of `zfs send` */
export const RIGHTS = ['send', 'diff', 'snapshot', 'mount', 'hold', 'release'] as const

/** what `zfs destroy` needs of a snapshot */
export const PRUNE_RIGHTS = ['destroy', 'mount'] as const

/** Lets a user back up a pool without being root, or do with it what these rights are for. */
export const allowUser = (user: string, pool: string, rights: readonly string[] = RIGHTS): Change => ({
  effect: 'change',
  argv: ['zfs', 'allow', '-u', user, rights.join(','), pool],
  failures: [
    {
      pattern: /invalid user|no such user|unable to get/i,
      code: 'config',
      message: `there is no user ${user}`,
    },
  ],
})

/** The users who may do all of it on a pool and on all below. */
export const allowedUsers = (pool: string, wanted: readonly string[] = RIGHTS): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['zfs', 'allow', pool],
  parse: (stdout) => {
    const [, section = ''] = stdout.split(`---- Permissions on ${pool} `)
    const [, rest = ''] = section.split('\nLocal+Descendent permissions:\n')
    const lines = rest.split('\n')
    const end = lines.findIndex((line) => !line.startsWith('\t'))
    return lines.slice(0, end === -1 ? undefined : end).flatMap((line) => {
      const [, user, rights = ''] = /^\tuser (\S+) (.+)$/.exec(line) ?? []
      const has = new Set(rights.split(','))
      return user !== undefined && wanted.every((right) => has.has(right)) ? [user] : []
    })
  },
})
