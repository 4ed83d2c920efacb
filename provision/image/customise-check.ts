import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import type { Read } from '../core/command.ts'
import type { BoxConfig } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { fsckFatFindings, fsckFindings, isClean } from '../tools/fsck.ts'
import { mdAttach, mdDetach } from '../tools/mdconfig.ts'
import { mountFat, mountUfs, unmount } from '../tools/mount.ts'
import { accounts, secureDatabase, type Account } from '../tools/pwd-mkdb.ts'
import { linkTarget, namesIn, sha256All, statAll, type FileFacts } from '../tools/stat.ts'
import { bytesOf } from './archive.ts'
import { foldersOf, layoutReads, mountPointsOf, UNWANTED } from './customise-plan.ts'
import type { CustomisePlan, Findings } from './customise-plan.ts'
import type { OverlayFile } from './overlay.ts'
import { isAtLeast } from './releases.ts'
import { checked, type Step } from './steps.ts'

/** What must be found in the image once it is attached again, read-only. Nothing of what was written is taken on trust. */

const wrong = (what: string, ...hints: readonly string[]) =>
  new KnoxError('verification', `a setting did not take in the image: ${what}`, [
    ...hints,
    'the image is not complete and must not be flashed',
  ])

const octal = (mode: number): string => mode.toString(8).padStart(4, '0')

/** The SHA-256 that a file of the overlay must have, in hex. */
export const sha256Of = (file: OverlayFile): string | undefined => {
  const bytes = bytesOf(file)
  return bytes === undefined ? undefined : createHash('sha256').update(bytes).digest('hex')
}

const linkOf = ({ content }: OverlayFile): string | undefined =>
  typeof content === 'object' && 'linkTo' in content ? content.linkTo : undefined

const checkFile = (file: OverlayFile, facts: FileFacts | undefined, seconds: number): void => {
  const kind = linkOf(file) === undefined ? 'file' : 'link'
  if (facts?.kind !== kind) throw wrong(`${file.path} is not a ${kind}`)
  if (facts.uid !== file.owner.uid || facts.gid !== file.owner.gid)
    throw wrong(
      `${file.path} belongs to ${facts.uid}:${facts.gid}, not to ${file.owner.uid}:${file.owner.gid}`,
    )
  // the mode of a link means nothing
  if (kind === 'file' && facts.mode !== file.mode)
    throw wrong(`${file.path} has the mode ${octal(facts.mode)}, not ${octal(file.mode)}`)
  if (kind === 'file' && facts.modified !== seconds)
    throw wrong(`${file.path} has another time than it was given`)
}

/** A folder in which somebody else may write is one whose files he may replace. */
const checkFolder = (path: string, facts: FileFacts | undefined): void => {
  if (facts?.kind !== 'folder') throw wrong(`${path} is not a folder`)
  if (facts.uid !== 0 || facts.gid !== 0)
    throw wrong(`${path} belongs to ${facts.uid}:${facts.gid}, not to 0:0`)
  if ((facts.mode & 0o022) !== 0) throw wrong(`${path} can be written by others: ${octal(facts.mode)}`)
}

const nothing = (found: readonly string[]): void => {
  const [first] = found
  if (first !== undefined) throw wrong(`${basename(first)} is still there`)
}

const checkAccounts = (found: readonly Account[]): void => {
  if (!found.some(({ name, uid }) => name === 'root' && uid === '0')) throw wrong('there is no account root')
  const open = found.find(({ password }) => password !== '*')
  if (open !== undefined) throw wrong(`the password of ${open.name} is not closed in master.passwd`)
}

/** A record is its name, its password field and its numbers, each text with a zero behind it. */
const checkDatabase = (database: Buffer): void => {
  const text = database.toString('latin1')
  if (!text.includes('root\0*\0')) throw wrong('spwd.db does not close the password of root')
  // root, an empty password, uid and gid 0
  if (text.includes(`root${'\0'.repeat(10)}`)) throw wrong('spwd.db has root without a password')
  if (/\0\$[0-9a-z]{1,3}\$/.test(text)) throw wrong('spwd.db still holds a password')
}

/** The modules that the box cannot do without. From 13 on ZFS (OpenZFS) has opensolaris.ko in itself. */
export const modulesOf = (box: BoxConfig): readonly string[] => {
  const version = box.release.replace('releng/', '')
  const modules = ['zfs.ko', 'geom_eli.ko', 'crypto.ko']
  return isAtLeast(version, '13.0') ? modules : [...modules, 'opensolaris.ko']
}

const checkModules = (box: BoxConfig, found: readonly string[]): void => {
  const names = new Set(found.map((path) => basename(path)))
  const missing = ['kernel', ...modulesOf(box)].filter((name) => !names.has(name))
  if (missing.length > 0)
    throw new KnoxError('verification', `the image lacks ${missing.join(', ')} in /boot/kernel`, [
      'the box could not open its disk: build the kernel with these modules',
    ])
}

const NO_START = ['it would not start', 'build or fetch the image again'] as const

/** What the Raspberry Pi itself starts from, what config.txt names for it, and what U-Boot goes on with. */
const firmwareReads = (boot: string): readonly Read<undefined>[] => {
  const names = new Set<string>()
  const config: Read<string> = {
    effect: 'read',
    argv: ['cat', `${boot}/config.txt`],
    parse: (stdout) => stdout,
  }
  return [
    checked(namesIn(boot, '*'), (found) => {
      for (const path of found) names.add(basename(path).toLowerCase())
      if (!names.has('config.txt') || ![...names].some((name) => /^start\w*\.elf$/.test(name)))
        throw new KnoxError(
          'verification',
          'the FAT slice of the image has no firmware of the Raspberry Pi',
          ['config.txt and start.elf are needed', ...NO_START],
        )
    }),
    checked(config, (text) => {
      const named = [...text.matchAll(/^(?:kernel|device_tree)=([\w.+-]+)\s*$/gm)].map(
        ([, name = '']) => name,
      )
      // the U-Boot that crochet takes loads FreeBSD's loader from there
      const wanted = named.includes('u-boot.img') ? [...named, 'ubldr'] : named
      const missing = wanted.filter((name) => !names.has(name.toLowerCase()))
      if (missing.length > 0)
        throw new KnoxError(
          'verification',
          `the FAT slice of the image lacks ${missing.join(', ')}`,
          NO_START,
        )
    }),
  ]
}

const checkSound = (what: string, findings: readonly string[]): void => {
  if (findings.length > 0)
    throw new KnoxError('verification', `the ${what} file system of the image is damaged`, [
      `fsck said: ${findings.slice(0, 3).join(' / ')}`,
      'build or fetch the image again',
    ])
}

const contentReads = ({ place, overlay, time }: CustomisePlan): readonly Read<undefined>[] => {
  const { root } = place
  const at = (path: string) => (path === '/' ? root : `${root}${path}`)
  const seconds = Math.floor(time.getTime() / 1000)
  const folders = [...new Set([...foldersOf(overlay), ...mountPointsOf(overlay)])]
  const ownFolders = foldersOf(overlay)
  const regular = overlay.filter((file) => linkOf(file) === undefined)
  return [
    checked(statAll([...overlay.map(({ path }) => path), ...folders].map(at)), (facts) => {
      for (const file of overlay) checkFile(file, facts.get(at(file.path)), seconds)
      for (const folder of ownFolders) checkFolder(folder, facts.get(at(folder)))
      for (const folder of folders)
        if (facts.get(at(folder))?.kind !== 'folder') throw wrong(`${folder} is not a folder to mount on`)
    }),
    checked(sha256All(regular.map(({ path }) => at(path))), (sums) => {
      for (const file of regular)
        if (sums.get(at(file.path)) !== sha256Of(file)) throw wrong(`${file.path} has another content`)
    }),
    ...overlay
      .filter((file) => linkOf(file) !== undefined)
      .map((file) =>
        checked(linkTarget(at(file.path)), (target) => {
          if (target !== linkOf(file)) throw wrong(`${file.path} points elsewhere`)
        }),
      ),
    ...UNWANTED.map((path) =>
      checked(namesIn(at(path.replace(/\/[^/]+$/, '') || '/'), basename(path)), nothing),
    ),
    checked(namesIn(at('/etc/ssh'), 'ssh_host_*'), (found) => {
      const ours = new Set(overlay.map(({ path }) => at(path)))
      nothing(found.filter((path) => !ours.has(path)))
    }),
    checked(accounts(at('/etc')), checkAccounts),
    checked(secureDatabase(at('/etc')), checkDatabase),
  ]
}

/** Attach read-only, read everything back, take it down again. */
export const checkingSteps = (plan: CustomisePlan, findings: Findings): readonly Step[] => {
  const { place, unit, box } = plan
  const [ufs, fat] = [`/dev/md${unit}s2a`, `/dev/md${unit}s1`]
  return [
    {
      title: 'attaching it again, read-only, to check it',
      commands: [
        mdAttach(place.image, unit, 'read-only'),
        ...layoutReads(plan, findings),
        checked(isClean(ufs), (clean) => {
          if (!clean) checkSound('root', ['it was not unmounted cleanly'])
        }),
        checked(fsckFindings(ufs), (found) => checkSound('root', found)),
        checked(fsckFatFindings(fat), (found) => checkSound('FAT', found)),
      ],
    },
    {
      title: 'reading everything back',
      commands: [
        mountUfs(ufs, place.root, 'read-only'),
        ...contentReads(plan),
        checked(namesIn(`${place.root}/boot/kernel`, '*'), (found) => checkModules(box, found)),
        unmount(place.root),
        mountFat(fat, place.boot),
        ...firmwareReads(place.boot),
        unmount(place.boot),
        mdDetach(unit),
      ],
    },
  ]
}
