import type { Reader } from '../core/command.ts'
import { isName, NAMES } from '../core/names.ts'
import { formatBytes } from '../core/sizes.ts'
import { readDisk, type Disk } from '../tools/disk.ts'
import { geomDisks, type GeomProvider } from '../tools/geom.ts'

/** The box's disks, for the owner to choose from. */

export interface DiskList {
  /** nothing uses them; with what was found on each, or undefined if it does not answer */
  readonly free: readonly (readonly [GeomProvider, Disk | undefined])[]
  readonly inUse: readonly GeomProvider[]
}

/** No CD drive, no empty card reader, and nothing whose name could mean more than a name. */
const isDisk = ({ name, bytes }: GeomProvider): boolean =>
  isName(NAMES.disk, name) && !/^cd[0-9]/.test(name) && bytes > 0

/** Looks at every disk that nothing uses, one after the other: the box's sshd takes few commands at once. `reader` bounds how long one may take. */
export const listDisks = async (reader: Reader): Promise<DiskList> => {
  const all = (await reader.read(geomDisks)).filter(isDisk)
  const free = all.filter(({ inUse }) => !inUse)
  const looked: (readonly [GeomProvider, Disk | undefined])[] = []
  for (const disk of free) looked.push([disk, await reader.read(readDisk(disk.name)).catch(() => undefined)])
  return {
    free: looked,
    inUse: all.filter(({ inUse }) => inUse),
  }
}

const CONTENTS: Readonly<Record<Disk['contents'], string>> = {
  blank: 'nothing on it',
  geli: 'encrypted by GELI: it may hold a backup',
  data: 'not empty',
}

/** What was found on a disk, with its partitions if it has some. */
export const describeContents = ({ contents, layout }: Disk): string =>
  `${CONTENTS[contents]}${layout === undefined ? '' : ` (${layout})`}`

/** One line for a list: model, serial, size, sectors, and what is on it. */
export const describeChoice = (disk: GeomProvider, found: Disk | undefined): string => {
  const { name, description, serial, bytes, sectorBytes, stripeBytes } = disk
  const physical = stripeBytes > sectorBytes ? ` (physical ${stripeBytes})` : ''
  return [
    `${name}: ${description ?? 'unknown model'}`,
    `serial ${serial ?? 'unknown'}`,
    formatBytes(bytes),
    `sectors of ${sectorBytes} bytes${physical}`,
    found === undefined ? 'it does not answer' : describeContents(found),
  ].join(', ')
}
