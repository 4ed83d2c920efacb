import type { Read } from '../core/command.ts'
import { printable } from '../core/names.ts'

/** mount(8) of FreeBSD 10.2 and later. */

export interface Mount {
  /** such as /dev/ufs/rootfs, zroot/ROOT/default, tmpfs */
  readonly from: string
  readonly on: string
  readonly type: string
}

/**
 * `mount -p`: from, on, type, options, dump, pass, with tabs or blanks between. 10.2 writes blanks of a name as they
 * are, so the last four are counted from the end.
 */
export const mounts: Read<readonly Mount[]> = {
  effect: 'read',
  argv: ['mount', '-p'],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [, from, on, type] = /^(\S+)\s+(\S.*?)\s+(\S+)\s+\S+\s+\d+\s+\d+\s*$/.exec(line) ?? []
      if (from === undefined || on === undefined || type === undefined) return []
      return [{ from: printable(from), on: printable(on), type: printable(type) }]
    }),
}
