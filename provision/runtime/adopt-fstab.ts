import { KnoxError } from '../core/errors.ts'
import { shownLine } from './adopt-merge.ts'

/** fstab(5) of an installed machine and knox's in one. A wrong line stops the boot where nobody is. */

interface Entry {
  readonly device: string
  readonly point: string
  readonly type: string
  readonly options: string
  readonly dump: string
  readonly pass: string
}

const refused = (line: string) =>
  new KnoxError(
    'refused',
    `fstab of the machine has a line that knox does not understand: ${shownLine(line)}`,
    ['nothing was changed; put it in order and try again'],
  )

const entryOf = (line: string): readonly Entry[] => {
  const words = line.trim().split(/[ \t]+/)
  if (line.trim() === '' || line.trimStart().startsWith('#')) return []
  const [device = '', point = '', type = '', options = 'rw', dump = '0', pass = '0'] = words
  const isWhole = words.length >= 4 && words.length <= 6 && /^[0-9]+ [0-9]+$/.test(`${dump} ${pass}`)
  if (!isWhole || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) throw refused(line)
  return [{ device, point, type, options, dump, pass }]
}

/** The lines of a table; throws `refused` for one that fstab(5) does not know. */
export const parseFstab = (text: string): readonly Entry[] => text.split('\n').flatMap(entryOf)

const lineOf = ({ device, point, type, options, dump, pass }: Entry): string =>
  [device, point, type, options, dump, pass].join('\t')

const isDevice = (device: string) => device.startsWith('/dev/') && !/^\/dev\/md[0-9]*$/.test(device)

/** swapon(8) makes a new key for a device that is called .eli here */
const encrypted = (entry: Entry): Entry =>
  isDevice(entry.device) && !entry.device.endsWith('.eli')
    ? { ...entry, device: `${entry.device}.eli`, type: 'swap' }
    : entry

const isBelow = (point: string, top: string) => point === top || point.startsWith(`${top}/`)

/** sshd and what it needs can be there: without these a start is of no use, and they are checked as before */
const SYSTEM = ['/usr', '/var']
const isNfs = (type: string) => type === 'nfs' || type === 'oldnfs'

/**
 * A file system that may be missing: fsck(8) of pass 0 leaves it alone (it stops the start for a device that is not there),
 * mount(8) goes on after it, and mount_nfs(8) waits for its server in the background.
 */
const dispensable = (entry: Entry): Entry => {
  if (SYSTEM.includes(entry.point)) return entry
  const wanted = ['failok', ...(isNfs(entry.type) ? ['bg'] : [])]
  const options = entry.options.split(',')
  return { ...entry, options: [...new Set([...options, ...wanted])].join(','), pass: '0' }
}

/** Lines that a start in another house would wait for, or that name the disk `disk`, which is to hold the backup. */
export const fstabWarnings = (
  old: string | undefined,
  root: { readonly device: string },
  disk: string,
): readonly string[] => {
  const mounts = parseFstab(old ?? '').filter(({ type }) => type !== 'swap')
  const devices = [...new Set([root.device, ...mounts.map(({ device }) => device)])]
  const onDisk = new RegExp(`^/dev/${disk}(?:[sp][0-9]+[a-h]?|[a-h])?$`)
  return [
    ...devices
      .filter((device) => device.endsWith('.eli'))
      .map(
        (device) => `${shownLine(device)} asks for its passphrase at each start, unless a key file opens it`,
      ),
    ...mounts
      .filter(({ type }) => isNfs(type))
      .map(({ device }) => `fstab mounts ${shownLine(device)}, which may not be there in another house`),
    ...devices
      .filter((device) => onDisk.test(device))
      .map((device) => `fstab names ${device}, and knox prepare-disk makes ${disk} the disk of the backup`),
  ]
}

/**
 * knox's table on the machine's devices. The root keeps its device and gets knox's options (`root` is the device that is
 * mounted there now, used if the old table names none; undefined on ZFS). Swap is what was swap, encrypted: a device
 * that was not is never made one, since that would destroy what it holds. No memory disk comes to the points `onZfs`: ZFS mounts
 * its own file systems after fstab's, and over them. Other file systems stay, but those
 * below knox's memory disks, and none but /usr and /var can stop a start any more.
 */
export const mergeFstab = (
  old: string | undefined,
  ours: string,
  root: { readonly device: string; readonly type: string } | undefined,
  onZfs: readonly string[] = [],
): string => {
  const theirs = parseFstab(old ?? '')
  const wanted = parseFstab(ours)
  const memory = wanted.filter(({ type }) => type === 'tmpfs')
  const ourRoot = wanted.find(({ point }) => point === '/')
  const oldRoot = theirs.find(({ point, type }) => point === '/' && type !== 'swap')
  const place = oldRoot ?? (root === undefined || root.type === 'zfs' ? undefined : root)
  const newRoot: readonly Entry[] =
    place === undefined
      ? []
      : place.type === 'zfs' && oldRoot !== undefined
        ? [oldRoot]
        : [
            {
              device: place.device,
              point: '/',
              type: place.type,
              options: ourRoot?.options ?? 'rw',
              dump: '1',
              pass: '1',
            },
          ]
  const swap = theirs.filter(({ type }) => type === 'swap').map(encrypted)
  const others = theirs.filter(
    ({ point, type }) =>
      point !== '/' && type !== 'swap' && !memory.some((disk) => isBelow(point, disk.point)),
  )
  const part = (comment: string, entries: readonly Entry[]) =>
    entries.length === 0 ? [] : [`# ${comment}`, ...entries.map(lineOf)]
  return [
    '# fstab(5), written by knox from the one that was here',
    '# Device\tMountpoint\tFStype\tOptions\tDump\tPass#',
    ...newRoot.map(lineOf),
    ...part('what was here before', others.map(dispensable)),
    ...part('swap is encrypted with a new key at each boot', swap),
    ...part(
      'memory disks, bounded',
      memory.filter(({ point }) => !onZfs.includes(point)),
    ),
    '',
  ].join('\n')
}
