import type { Read, Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/** A machine that is adopted for the time being: it takes all back unless the run that did it confirms. */

/** Where a machine keeps what was there before; not /var/backups, which is a memory disk on some boxes. */
export const KEEP = '/root/knox-before'

/** The refusal for these folders of runs, at least one. */
export const notDecided = (folders: readonly string[]): KnoxError =>
  new KnoxError('busy', 'an earlier run on this machine is not decided yet', [
    'it was stopped before it could confirm, and undoes itself within minutes; try again then',
    ...folders.map((folder) => `it is in ${printable(folder)}`),
  ])

const undecidedRuns: Read<readonly string[]> = {
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c'],
    'for armed in "$1"/*/armed; do run=${armed%/armed}; if [ -e "$run/confirmed" ] || [ -e "$run/undone" ]; then :; elif [ -e "$armed" ]; then printf "%s\\n" "$run"; fi; done',
    ...['sh', KEEP],
  ],
  parse: (stdout) => stdout.split('\n').filter((line) => line !== ''),
}

/** Throws `busy` if `knox adopt` has changed the machine and nobody has confirmed it. `runner` has the rights of root. */
export const mustBeDecided = async (runner: Runner): Promise<void> => {
  const folders = await runner.read(undecidedRuns)
  if (folders.length > 0) throw notDecided(folders)
}
