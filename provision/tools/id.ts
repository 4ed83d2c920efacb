import type { Read } from '../core/command.ts'

/** id(1). Pure. */

/** The number of a user. */
export const userId = (user: string): Read<number> => ({
  effect: 'read',
  argv: ['id', '-u', user],
  parse: (stdout) => Number(/^[0-9]+$/.exec(stdout.trim())?.[0] ?? Number.NaN),
})
