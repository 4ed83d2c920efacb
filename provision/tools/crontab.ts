import type { Change, Read, StderrRule } from '../core/command.ts'

/** crontab(1) of the person who runs knox, the same on FreeBSD and Linux. */

const FAILURES: readonly StderrRule[] = [
  {
    pattern: /not allowed|allowed to use/i,
    code: 'refused',
    message: 'this user may not have a crontab',
    hints: ['see cron.allow in crontab(1)'],
  },
  // sh says it, in its own words on each system
  { pattern: /crontab: (?:command )?not found/, code: 'platform', message: 'there is no crontab(1) here' },
]

/** Their crontab, empty if there is none: then crontab(1) ends with 1 and says so on stderr. */
export const readCrontab: Read<string> = {
  effect: 'read',
  argv: [
    '/bin/sh',
    '-c',
    'e=$(crontab -l 2>&1 >/dev/null) && exec crontab -l; case $e in *"no crontab"*) exit 0 ;; esac; echo "$e" >&2; exit 1',
  ],
  parse: (stdout) => stdout,
  failures: FAILURES,
}

/** Replaces it as a whole. */
export const writeCrontab = (text: string): Change => ({
  effect: 'change',
  argv: ['crontab', '-'],
  stdin: text,
  failures: FAILURES,
})
