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

/** Looks at every disk that nothing uses; `reader` bounds how long one may take. */
export const listDisks = async (reader: Reader): Promise<DiskList> => {
  const all = (await reader.read(geomDisks)).filter(isDisk)
  const free = all.filter(({ inUse }) => !inUse)
  const looks = await Promise.all(free.map(({ name }) => reader.read(readDisk(name)).catch(() => undefined)))
  return {
    free: free.map((disk, index) => [disk, looks[index]] as const),
    inUse: all.filter(({ inUse }) => inUse),
  }
}

const CONTENTS: Readonly<Record<Disk['contents'], string>> = {
  blank: 'nothing on it',
  geli: 'encrypted by GELI: it may hold a backup',
  data: 'not empty',
}

/** One line for a list: model, serial, size, sectors, and what is on it. */
export const describeChoice = (disk: GeomProvider, found: Disk | undefined): string => {
  const { name, description, serial, bytes, sectorBytes, stripeBytes } = disk
  const physical = stripeBytes > sectorBytes ? ` (physical ${stripeBytes})` : ''
  const layout = found?.layout === undefined ? '' : ` (${found.layout})`
  return [
    `${name}: ${description ?? 'unknown model'}`,
    `serial ${serial ?? 'unknown'}`,
    formatBytes(bytes),
    `sectors of ${sectorBytes} bytes${physical}`,
    found === undefined ? 'it does not answer' : `${CONTENTS[found.contents]}${layout}`,
  ].join(', ')
}
