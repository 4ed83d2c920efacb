import { dirname } from 'node:path'
import type { Change, Read } from '../core/command.ts'
import type { BoxConfig } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { fsckPreen } from '../tools/fsck.ts'
import { partitionTable, type PartitionTable } from '../tools/gpart.ts'
import { mdAttach, mdDetach } from '../tools/mdconfig.ts'
import { mountUfs, unmount } from '../tools/mount.ts'
import { closeAccounts } from '../tools/pwd-mkdb.ts'
import { linksAmong } from '../tools/stat.ts'
import { unpackArgv } from '../tools/tar.ts'
import { archiveOf } from './archive.ts'
import { publishedKey } from './known-keys.ts'
import type { OverlayFile } from './overlay.ts'
import { checked, type Step } from './steps.ts'
import { recordUnit, type Workplace } from './workplace.ts'

/** How an image becomes the box's own: every command, in order. What must be read back stands in customise-check.ts. */

export interface CustomisePlan {
  readonly place: Workplace
  /** of the memory disk */
  readonly unit: number
  readonly box: BoxConfig
  readonly overlay: readonly OverlayFile[]
  /** of every file and folder that is touched */
  readonly time: Date
}

/** What is learnt on the way. */
export interface Findings {
  /** such as `10.2-RELEASE` */
  release: string
  /** published keys that stood in the image */
  readonly published: string[]
  readonly warnings: string[]
}

/** Folders of the box that hold its files, `/` among them. */
export const foldersOf = (overlay: readonly OverlayFile[]): readonly string[] => {
  const above = (path: string): readonly string[] => (path === '/' ? ['/'] : [path, ...above(dirname(path))])
  return [...new Set(overlay.flatMap(({ path }) => above(dirname(path))))].sort()
}

/** The folders that fstab mounts on: a line without its folder stops the boot. */
export const mountPointsOf = (overlay: readonly OverlayFile[]): readonly string[] => {
  const fstab = overlay.find(({ path }) => path === '/etc/fstab')?.content
  return (typeof fstab === 'string' ? fstab : '').split('\n').flatMap((line) => {
    const on = /^[^#\s]\S*\s+(\/\S+)/.exec(line)?.[1]
    return on === undefined ? [] : [on]
  })
}

/** What would act at the first boot, and what is read after the files of ours and would have the last word. */
export const UNWANTED = [
  ...['/firstboot', '/firstboot-reboot'],
  ...['/etc/rc.conf.local', '/etc/rc.conf.d', '/boot/loader.conf.local', '/boot/loader.conf.d'],
]

const FAT_TYPES = new Set(['!6', '!11', '!12', '!14', 'fat16', 'fat16lba', 'fat32', 'fat32lba'])

const unexpected = (what: string, table: PartitionTable) =>
  new KnoxError('config', `the image is not laid out as one for a Raspberry Pi: ${what}`, [
    `found: ${table.scheme} with ${table.partitions.map(({ index, type }) => `${index} ${type}`).join(', ') || 'nothing in it'}`,
    'nothing was changed in it; it needs an MBR with a FAT slice first and a FreeBSD slice second',
  ])

/** The MBR: a FAT slice that the Raspberry Pi starts from, then FreeBSD's. */
const checkSlices = (table: PartitionTable, box: BoxConfig, findings: Findings): void => {
  const typeOf = (index: number) => table.partitions.find((one) => one.index === index)?.type
  if (table.scheme !== 'MBR') throw unexpected('its partition table is not an MBR', table)
  if (!FAT_TYPES.has(typeOf(1) ?? '')) throw unexpected('s1 is not a FAT slice', table)
  if (typeOf(2) !== 'freebsd') throw unexpected('s2 is not a FreeBSD slice', table)
  const swap = /s([134])$/.exec(box.swap)?.[1]
  if (swap !== undefined && typeOf(Number(swap)) !== 'freebsd') {
    const warning = `the image has no slice s${swap} for ${box.swap}: the box will run without swap`
    if (!findings.warnings.includes(warning)) findings.warnings.push(warning)
  }
}

const checkLabel = (table: PartitionTable): void => {
  const root = table.partitions.find(({ index }) => index === 1)
  if (table.scheme !== 'BSD' || root?.type !== 'freebsd-ufs')
    throw unexpected('s2a is not a UFS file system', table)
}

/** The partition tables, read from the kernel, which has them from the image. */
export const layoutReads = ({ unit, box }: CustomisePlan, findings: Findings): readonly Read<undefined>[] => [
  checked(partitionTable(`md${unit}`), (table) => checkSlices(table, box, findings)),
  checked(partitionTable(`md${unit}s2`), checkLabel),
]

const NO_FREEBSD = {
  pattern: /No such file/,
  code: 'config',
  message: 'there is no FreeBSD in the image',
} as const

/**
 * What is read or changed through its path must stand in the image itself: a link in it would lead to the build host's own
 * files, and it is root who follows it.
 */
const noLinks = (root: string, folders: readonly string[]): Read<undefined> => {
  const paths = [...folders, '/bin', '/bin/freebsd-version', '/etc/master.passwd'].filter(
    (path) => path !== '/',
  )
  const links = linksAmong(paths.map((path) => `${root}${path}`))
  return checked({ ...links, failures: [NO_FREEBSD] }, ([link]) => {
    if (link !== undefined)
      throw new KnoxError('config', `${link.slice(root.length)} is a link in the image`, [
        'it would lead out of the image; FreeBSD has none there: take another image',
      ])
  })
}

const readRelease = (root: string): Read<string> => ({
  effect: 'read',
  argv: ['cat', `${root}/bin/freebsd-version`],
  parse: (stdout) => /^USERLAND_VERSION="([\w.-]+)"$/m.exec(stdout)?.[1] ?? '',
  failures: [NO_FREEBSD],
})

const checkRelease = (release: string, box: BoxConfig): void => {
  const version = /^\d+\.\d+/.exec(release)?.[0] ?? 'unknown'
  if (`releng/${version}` !== box.release)
    throw new KnoxError('config', `the image holds FreeBSD ${release}, and knox.yaml says ${box.release}`, [
      `nothing was changed in it; for this image: release: releng/${version}`,
    ])
}

/** The keys that the image trusts or shows; there may be none. */
const readKeys = (root: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c', 'cat "$1/knox-ca" "$1"/ssh_host_*_key.pub 2>/dev/null || :', 'sh'],
    `${root}/etc/ssh`,
  ],
  parse: (stdout) => stdout.split('\n'),
})

const remove = (root: string): Change => ({
  effect: 'change',
  argv: [
    ...['/bin/sh', '-c', 'r=$1; shift; rm -rf "$@" "$r"/etc/ssh/ssh_host_*', 'sh', root],
    ...UNWANTED.map((path) => `${root}${path}`),
  ],
})

/** a folder's own time does not follow from what is written into it any more */
const touch = (time: Date, paths: readonly string[]): Change => ({
  effect: 'change',
  argv: ['touch', '-h', '-d', `${time.toISOString().slice(0, 19)}Z`, ...paths],
})

const PASSWORD_FILES = ['master.passwd', 'passwd', 'pwd.db', 'spwd.db'].map((file) => `/etc/${file}`)

const NO_SPACE = {
  pattern: /No space left|file system full|filesystem full/i,
  code: 'no-space',
  message: 'the root file system of the image is full',
  hints: ['make the image larger: image.size in knox.yaml'],
} as const

/** Everything up to the unmounted image that should be right. */
export const writingSteps = (plan: CustomisePlan, findings: Findings): readonly Step[] => {
  const { place, unit, box, overlay, time } = plan
  const { root } = place
  const inside = (paths: readonly string[]) => paths.map((path) => (path === '/' ? root : `${root}${path}`))
  const folders = foldersOf(overlay)
  const points = mountPointsOf(overlay)
  return [
    {
      title: `attaching ${place.image}`,
      commands: [
        recordUnit(place, unit),
        mdAttach(place.image, unit, 'read-write'),
        ...layoutReads(plan, findings),
        fsckPreen(`/dev/md${unit}s2a`),
        mountUfs(`/dev/md${unit}s2a`, root, 'read-write'),
        noLinks(root, folders),
        checked(readRelease(root), (release) => {
          findings.release = release
          checkRelease(release, box)
        }),
        checked(readKeys(root), (lines) => {
          const known = lines.flatMap((line) => publishedKey(line) ?? [])
          findings.published.push(...new Set(known))
        }),
      ],
    },
    {
      title: 'writing the box’s files into it',
      commands: [
        remove(root),
        {
          effect: 'change',
          argv: ['/bin/sh', '-c', 'umask 022; mkdir -p "$@"', 'sh', ...inside([...folders, ...points])],
        },
        // an image builder that copies with cpio leaves them with the owner of its own folder
        { effect: 'change', argv: ['chown', '0:0', ...inside(folders)] },
        { effect: 'change', argv: ['chmod', 'go-w', ...inside(folders)] },
        {
          effect: 'change',
          argv: unpackArgv(root),
          stdin: archiveOf(overlay, time),
          failures: [NO_SPACE],
        },
      ],
    },
    {
      title: 'closing every account but for certificates',
      commands: [
        { ...closeAccounts(`${root}/etc`), failures: [NO_SPACE] },
        touch(time, inside([...PASSWORD_FILES, ...points, ...folders])),
        unmount(root),
        mdDetach(unit),
      ],
    },
  ]
}
