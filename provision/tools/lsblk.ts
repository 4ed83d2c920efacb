import type { Read } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/** lsblk(8) and blkdiscard(8) of util-linux 2.29 (Debian 9) and later. */

/** A block device with what is made of it: partitions, and what stands on those. */
export interface BlockNode {
  /** such as /dev/mapper/home, and /dev/dm-0 */
  readonly names: readonly string[]
  /** disk, part, loop, rom, lvm, crypt, dm, raid1 ... */
  readonly type: string
  readonly bytes: number
  readonly sectorBytes: number
  readonly model: string | undefined
  readonly serial: string | undefined
  /** usb, mmc, sata, nvme ... */
  readonly bus: string | undefined
  readonly readOnly: boolean
  readonly removable: boolean
  /** a file system, swap or member of something, with its label */
  readonly holds: string | undefined
  /** mount points, `[SWAP]` for swap */
  readonly mounts: readonly string[]
  readonly children: readonly BlockNode[]
}

const COLUMNS = 'NAME,KNAME,TYPE,SIZE,LOG-SEC,VENDOR,MODEL,SERIAL,TRAN,RO,RM,HOTPLUG,FSTYPE,LABEL'

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

/** Text of a column; the drive itself chose much of it. */
const text = (row: Json, column: string): string | undefined => {
  const value = row[column]
  const plain = typeof value === 'string' ? printable(value).trim() : ''
  return plain === '' ? undefined : plain
}

/** up to util-linux 2.32 all values were strings */
const isSet = (value: unknown): boolean => value === true || value === 1 || value === '1'

const joined = (...words: readonly (string | undefined)[]): string | undefined =>
  words.filter((word) => word !== undefined).join(' ') || undefined

/** a vendor such as `ATA` or a PCI number says nothing */
const vendorOf = (row: Json): string | undefined => {
  const vendor = text(row, 'vendor')
  return vendor === 'ATA' || vendor?.startsWith('0x') === true ? undefined : vendor
}

/** one mount point a row before 2.37, a list since */
const mountsOf = (row: Json): readonly string[] => {
  const list = Array.isArray(row['mountpoints']) ? (row['mountpoints'] as unknown[]) : [row['mountpoint']]
  return list.filter((mount) => typeof mount === 'string').map(printable)
}

const rowsOf = (value: unknown): readonly Json[] =>
  Array.isArray(value) ? (value as unknown[]).filter(isObject) : []

const nodeOf = (row: Json): BlockNode => ({
  names: [...new Set([text(row, 'name') ?? '', text(row, 'kname') ?? ''])],
  type: text(row, 'type') ?? 'unknown',
  bytes: Number(row['size'] ?? 0),
  sectorBytes: Number(row['log-sec'] ?? 512),
  model: joined(vendorOf(row), text(row, 'model')),
  serial: text(row, 'serial'),
  bus: text(row, 'tran'),
  readOnly: isSet(row['ro']),
  removable: isSet(row['rm']) || isSet(row['hotplug']),
  holds: joined(text(row, 'fstype'), text(row, 'label')),
  mounts: mountsOf(row),
  children: rowsOf(row['children']).map(nodeOf),
})

/** Every block device of this machine. MOUNTPOINTS is there since 2.37; an older lsblk is asked for the one it has. */
export const lsblk: Read<readonly BlockNode[]> = {
  effect: 'read',
  argv: [
    '/bin/sh',
    '-c',
    `lsblk --json -b -p -o ${COLUMNS},MOUNTPOINTS 2>/dev/null || lsblk --json -b -p -o ${COLUMNS},MOUNTPOINT`,
  ],
  parse: (stdout) => {
    try {
      const all: unknown = JSON.parse(stdout)
      if (isObject(all) && Array.isArray(all['blockdevices'])) return rowsOf(all['blockdevices']).map(nodeOf)
    } catch {
      // the same as an answer of another form
    }
    throw new KnoxError('failed', 'lsblk does not answer in the form that is known')
  },
}

/** Tells the drive that nothing on it is wanted any more. `-f`, since the caller holds the drive open. */
export const blkdiscard = (device: string) =>
  ({ effect: 'change', argv: ['blkdiscard', '-f', device] }) as const
