import type { Read } from '../core/command.ts'
import { printable } from '../core/names.ts'

/** gpart(8) of FreeBSD 10.2 and later. */

export interface Partition {
  readonly index: number
  /** such as !12, fat32lba, freebsd, freebsd-ufs */
  readonly type: string
  /** in sectors, as size is */
  readonly start: number
  readonly size: number
}

export interface PartitionTable {
  /** MBR, BSD, GPT ... */
  readonly scheme: string
  readonly partitions: readonly Partition[]
}

/** the kernel finds what is on a new disk a moment after it is attached, and what is in a slice of it later still */
const PATIENT = 'n=0; until gpart backup "$1"; do n=$((n + 1)); [ $n -lt 8 ] || exit 1; sleep 0.3; done'

/**
 * The partition table on a provider such as md0 or md0s2, by `gpart backup`, whose output is made to be read again:
 * scheme and number of entries, then index, type, start, size, label and attributes of each.
 */
export const partitionTable = (provider: string): Read<PartitionTable> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', PATIENT, 'sh', provider],
  parse: (stdout) => {
    const [head = '', ...lines] = stdout.split('\n')
    return {
      scheme: printable(head.split(' ')[0] ?? ''),
      partitions: lines.flatMap((line) => {
        const [, index, type, start, size] = /^(\d+) +(\S+) +(\d+) +(\d+)(?: |$)/.exec(line) ?? []
        if (type === undefined) return []
        return [{ index: Number(index), type: printable(type), start: Number(start), size: Number(size) }]
      }),
    }
  },
  failures: [
    {
      pattern: /No such geom/,
      code: 'config',
      message: 'there is no partition table where the image should have one',
      hints: ['an image for the Raspberry Pi has an MBR with a FAT slice and a FreeBSD slice'],
    },
  ],
})
