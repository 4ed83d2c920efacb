import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { isName, NAMES } from '../core/names.ts'
import type { Owner } from '../core/owner.ts'
import type { GeomProvider } from '../tools/geom.ts'
import { describeChoice, type DiskList } from './list-disks.ts'

/** Which of the box's disks it shall be. */

const HOW = 'which disk of the box? all that is on it will be lost, unless it is the box’s own'

/** True if this is what the owner calls the disk: its name, its serial number, or FreeBSD's name made of that. */
const isCalled = (text: string, { name, serial }: GeomProvider): boolean =>
  text === name || (serial !== undefined && (text === serial || text === `diskid/DISK-${serial}`))

/** The name of the disk that is called so; one that is not there keeps its name: the look at it says so. */
const diskCalled = (text: string, disks: readonly GeomProvider[]): string => {
  const [disk, ...others] = disks.filter((one) => isCalled(text, one))
  const list = disks.map(({ name, serial }) => `${name} (serial ${serial ?? 'unknown'})`).join(', ')
  if (others.length > 0)
    throw new KnoxError('usage', `several disks of the box are called ${JSON.stringify(text)}`, [list])
  if (disk !== undefined || isName(NAMES.disk, text)) return disk?.name ?? text
  throw new KnoxError('usage', `no disk of the box is called ${JSON.stringify(text)}`, [
    `it has ${list === '' ? 'none' : list}`,
  ])
}

export interface Chooser extends Pick<Owner, 'args' | 'choose'> {
  /** true if a person can be asked */
  readonly interactive: boolean
  readonly emit: Emit
}

/**
 * The name of the disk: --disk, which may be a serial number too, else knox.yaml's `known` where the box has only that one
 * free. Of several the owner chooses; without a terminal, where --disk does. Disks in use cannot be chosen.
 * Throws `usage` for a --disk that is no disk, `refused` where nobody can be asked.
 */
export const chooseDisk = async (
  owner: Chooser,
  known: string,
  { free, inUse }: DiskList,
): Promise<string> => {
  const disks = free.map(([disk]) => disk)
  const said = owner.args.text('disk')
  if (said !== undefined) return diskCalled(said, [...disks, ...inUse])
  const own = disks.find((disk) => isCalled(known, disk))
  if (disks.length === 0 || (own !== undefined && disks.length === 1)) return own?.name ?? known
  if (inUse.length > 0)
    owner.emit({
      type: 'note',
      text: `in use on the box, and not to be chosen: ${inUse.map(({ name }) => name).join(', ')}`,
    })
  return owner.choose({
    question: HOW,
    flag: 'disk',
    choices: free.map(([disk, found]) => ({ value: disk.name, label: describeChoice(disk, found) })),
    // at a terminal knox.yaml's is what Enter means; elsewhere a default chooses nothing
    ...(own !== undefined && owner.interactive ? { initial: own.name } : {}),
  })
}
