import type { Reader } from '../core/command.ts'
import { geomDisks, geomLabels, geomMemoryDisks, type GeomProvider } from '../tools/geom.ts'
import { mounts, type Mount } from '../tools/mount.ts'
import { swapDevices } from '../tools/swapinfo.ts'
import { poolMembers } from '../tools/zpool.ts'
import { SYSTEM_MOUNTS, type Drive, type Drives, type Part } from './drives.ts'

/** What FreeBSD's programs say, before it is put together. */
export interface FreebsdAnswers {
  readonly disks: readonly GeomProvider[]
  readonly memoryDisks: readonly GeomProvider[]
  readonly labels: ReadonlyMap<string, string>
  readonly mounts: readonly Mount[]
  readonly swap: readonly string[]
  readonly pools: ReadonlyMap<string, readonly string[]>
}

/** what geom(8) and its classes put behind the name of a disk: slices, partitions, layers such as .eli */
const BEHIND = /^(?:[sp]\d+[a-h]?|[a-h])?(?:\.[a-z]+)*$/

const isOn = (name: string, lower: string): boolean =>
  name.startsWith(lower) && BEHIND.test(name.slice(lower.length))

/** The disk that a provider is on, through labels: `/dev/ufs/rootfs`, `mmcsd0s2a`, `diskid/DISK-1p2`, `da0p3.eli`. */
const diskUnder = (
  name: string,
  disks: readonly string[],
  labels: ReadonlyMap<string, string>,
): string | undefined => {
  const plain = name.replace(/^\/dev\//, '')
  const [, component = plain] = [...labels].find(([label]) => isOn(plain, label)) ?? []
  return disks.find((disk) => isOn(component, disk))
}

/** Puts the answers together: drives with their uses, and labels that stand for a part of one. */
export const drivesFrom = (answers: FreebsdAnswers): Drives => {
  const { disks, memoryDisks, labels } = answers
  const all = [...disks, ...memoryDisks].filter(({ name }) => !/^cd\d+$/.test(name))
  const under = (device: string) =>
    diskUnder(
      device,
      all.map(({ name }) => name),
      labels,
    )
  // a pool stands for all its mounted datasets
  const plainMounts = answers.mounts.filter(({ type }) => type !== 'zfs')
  const rootPool = answers.mounts.find(({ on, type }) => on === '/' && type === 'zfs')?.from.split('/')[0]
  const usesOf = (disk: string): readonly string[] => [
    ...plainMounts.filter(({ from }) => under(from) === disk).map(({ on }) => on),
    ...answers.swap.filter((device) => under(device) === disk).map(() => 'swap'),
    ...[...answers.pools]
      .filter(([, members]) => members.some((member) => under(member) === disk))
      .map(([pool]) => (pool === rootPool ? '/' : `pool ${pool}`)),
  ]
  const labelsOn = [...labels].map(([label, component]) => ({ label, component, disk: under(component) }))
  const driveOf = (geom: GeomProvider): Drive => {
    const uses = [...new Set(usesOf(geom.name))]
    const own = labelsOn.filter(({ disk }) => disk === geom.name).map(({ label }) => label)
    return {
      path: `/dev/${geom.name}`,
      aliases: labelsOn
        .filter(({ component }) => component === geom.name)
        .map(({ label }) => `/dev/${label}`),
      model: geom.description ?? 'unknown model',
      serial: geom.serial,
      bus: undefined,
      bytes: geom.bytes,
      sectorBytes: geom.sectorBytes,
      readOnly: geom.readOnly,
      virtual: memoryDisks.includes(geom),
      system: uses.some((use) => SYSTEM_MOUNTS.includes(use) || use === 'swap'),
      // the kernel's count of openings is the judge; the names only explain it
      uses: geom.inUse && uses.length === 0 ? ['something has it open'] : uses,
      holds: own.filter((label) => !/^(?:diskid|gptid)\//.test(label)),
    }
  }
  const parts: readonly Part[] = labelsOn.flatMap(({ label, component, disk }) =>
    disk === undefined || disk === component
      ? []
      : [{ names: [`/dev/${label}`], what: `the label of ${component}`, drive: `/dev/${disk}` }],
  )
  return { drives: all.map(driveOf), parts }
}

/** Adds what `path` is a part of, if it is part of a drive and not one itself. */
export const findPart = (found: Drives, path: string, labels: ReadonlyMap<string, string>): Drives => {
  const names = found.drives.map((drive) => drive.path.slice('/dev/'.length))
  const disk = diskUnder(path, names, labels)
  const isKnown = found.drives.some((drive) => drive.path === path || drive.aliases.includes(path))
  if (disk === undefined || isKnown) return found
  const part = { names: [path], what: 'a partition', drive: `/dev/${disk}` }
  return { drives: found.drives, parts: [...found.parts, part] }
}

/** The drives of this FreeBSD machine, and the drive that `path` is a part of, if it is. */
export const readDrivesFreebsd = async (reader: Reader, path: string | undefined): Promise<Drives> => {
  const answers = {
    disks: await reader.read(geomDisks),
    memoryDisks: await reader.read(geomMemoryDisks),
    labels: await reader.read(geomLabels),
    mounts: await reader.read(mounts),
    swap: await reader.read(swapDevices),
    pools: await reader.read(poolMembers),
  }
  const found = drivesFrom(answers)
  return path === undefined ? found : findPart(found, path, answers.labels)
}
