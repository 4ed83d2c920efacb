import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { configSchema, type Config } from '../../provision/core/config.ts'
import type { Event } from '../../provision/core/events.ts'
import { customiseImage, type Customised, type CustomiseOptions } from '../../provision/image/customise.ts'
import { keyFiles } from '../unit/image/helpers.ts'
import { tempFolder, withEnv } from './expect.ts'

/** A build host of stand-ins (test/freebsd) with an image in it, and the key folder of a box. */

export const STAND_INS = resolve(import.meta.dirname, '../freebsd/bin')

/** A hash as crypt(3) writes it; of no password that anybody uses. */
const HASH = '$6$saltsaltsaltsalt$0123456789abcdef'

const passwd = (root: string, more = ''): string =>
  [
    '# $FreeBSD$',
    '#',
    `root:${root}:0:0::0:0:Charlie &:/root:/bin/csh`,
    'toor:*:0:0::0:0:Bourne-again Superuser:/root:',
    'daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin',
    ...(more === '' ? [] : [more]),
    '',
  ].join('\n')

/** The images that knox is given. */
const KINDS = {
  /** as crochet makes it of releng/10.2: root has no password */
  crochet: {
    release: '10.2-RELEASE-p12',
    gpart:
      'MBR 4\n1     !12     63   34776   [active] \n2 freebsd  34839 6144000  \n3 freebsd 6178839 1438000  \n',
    passwd: passwd(''),
  },
  /** an official one for the Raspberry Pi 3: no s3, the accounts root/root and freebsd/freebsd */
  official: {
    release: '13.2-RELEASE',
    gpart: 'MBR 4\n1 fat32lba   2079  102312   [active] \n2  freebsd 104391 10378233  \n',
    passwd: passwd(HASH, `freebsd:${HASH}:1001:1001::0:0:User &:/home/freebsd:/bin/csh`),
  },
} as const

export interface ImageWorld {
  readonly dir: string
  /** where the stand-ins keep what they know */
  readonly world: string
  readonly image: string
  readonly keys: string
  readonly config: Config
  readonly events: Event[]
  readonly customise: (options?: Partial<CustomiseOptions>) => Promise<Customised>
  /** the tree of the unmounted image's root file system, and its FAT slice */
  readonly root: string
  readonly boot: string
  /** the root file system's tree of another unmounted image */
  readonly rootOf: (image: string) => string
  /** the image as it was made, before it is attached for the first time */
  readonly pristine: string
  /** looks for programs elsewhere until the test ends */
  readonly usePath: (path: string) => void
  /** what is attached and mounted, and what was written where nothing may be */
  readonly leftovers: () => Promise<readonly string[]>
}

const write = async (folder: string, files: Readonly<Record<string, string>>): Promise<void> => {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

/** A small file that begins as a disk image does, with the name of its content in the second sector. */
export const imageBytes = (id: string): Buffer => {
  const image = Buffer.alloc(64 * 1024)
  image.writeUInt16LE(0xaa55, 510)
  image.write(id, 512)
  return image
}

const modulesFor = (release: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ['kernel', 'zfs.ko', 'opensolaris.ko', 'geom_eli.ko', 'crypto.ko']
      .filter((name) => release.startsWith('10') || name !== 'opensolaris.ko')
      .map((name) => [`boot/kernel/${name}`, name]),
  )

/** What stands on the image's two file systems. */
const makeDisk = async (disk: string, kind: keyof typeof KINDS): Promise<void> => {
  const { release, gpart, passwd: accounts } = KINDS[kind]
  await write(disk, {
    gpart,
    'gpart.s2': 'BSD 8\n1 freebsd-ufs 0 6144000  \n',
    's2a.owners': '1001:1001 /etc\n',
  })
  await write(join(disk, 's1'), {
    'config.txt': 'gpu_mem=32\ndevice_tree=rpi.dtb\ndevice_tree_address=0x100\nkernel=u-boot.img\n',
    'START.ELF': 'firmware',
    'bootcode.bin': 'x',
    ...{ 'rpi.dtb': 'x', 'u-boot.img': 'x', ubldr: 'x' },
  })
  await write(join(disk, 's2a'), {
    'bin/freebsd-version': `#!/bin/sh\nUSERLAND_VERSION="${release}"\n`,
    'etc/master.passwd': accounts,
    'etc/passwd': 'old',
    'etc/pwd.db': 'old',
    'etc/spwd.db': 'old',
    'etc/fstab': 'old',
    'etc/rc.conf': 'hostname="raspberry-pi"\ngrowfs_enable="YES"\n',
    'etc/rc.conf.local': 'sshd_enable="NO"\n',
    'etc/rc.conf.d/sshd': 'sshd_enable="NO"\n',
    'etc/resolv.conf': 'nameserver 192.0.2.1\n',
    'etc/ssh/sshd_config': 'PermitRootLogin yes\n',
    'etc/ssh/ssh_host_rsa_key': 'somebody’s',
    'etc/ssh/ssh_host_ed25519_key': 'somebody’s',
    'boot/loader.conf': 'old',
    firstboot: '',
    'root/.profile': 'x',
    ...modulesFor(release),
  })
  for (const folder of ['tmp', 'var']) await mkdir(join(disk, 's2a', folder))
  await chmod(join(disk, 's2a/etc'), 0o775)
  const set = [disk, '-exec', 'touch', '-h', '-d', '2016-01-01T00:00:00Z', '{}', '+']
  execFileSync('find', set, { env: { PATH: '/usr/bin:/bin' } })
}

const makeKeys = async (keys: string): Promise<void> => {
  await mkdir(keys, { mode: 0o700 })
  const host = keyFiles(1)
  await writeFile(join(keys, 'knox-ca.pub'), keyFiles(2).line)
  await writeFile(join(keys, 'ssh_host_ed25519_key.pub'), host.line)
  await writeFile(join(keys, 'ssh_host_ed25519_key'), host.secret.reveal(), { mode: 0o600 })
}

const fileNames = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => [])

/** Makes the build host; the environment points at it until the test ends. One at a time in a process. */
export const imageWorld = async (
  t: TestContext,
  kind: keyof typeof KINDS = 'crochet',
): Promise<ImageWorld> => {
  const dir = await tempFolder(t)
  const [world, keys, image] = [join(dir, 'world'), join(dir, 'keys'), join(dir, 'raw image.img')]
  await mkdir(join(world, 'disks'), { recursive: true })
  const pristine = join(world, 'disks', kind)
  await makeDisk(pristine, kind)
  await makeKeys(keys)
  await writeFile(image, imageBytes(kind))
  withEnv(t, { KNOX_WORLD: world, PATH: `${STAND_INS}:${process.env['PATH'] ?? ''}` })
  const release = `releng/${KINDS[kind].release.replace(/-.*/, '')}`
  const config = configSchema.parse({ box: { addresses: ['192.168.1.13'], release }, home: { pool: 'wd' } })
  const events: Event[] = []
  const content = `${world}/content${image.replaceAll('/', ',')}`
  return {
    ...{ dir, world, image, keys, config, events, pristine },
    rootOf: (path) => `${world}/content${path.replaceAll('/', ',')}/s2a`,
    root: `${content}/s2a`,
    boot: `${content}/s1`,
    customise: (options = {}) =>
      customiseImage({
        ...{ image, folder: keys, config, signal: new AbortController().signal },
        emit: (event) => void events.push(event),
        ...options,
      }),
    // what withEnv above has remembered comes back at the end
    usePath: (path) => {
      process.env['PATH'] = path
    },
    leftovers: async () => [
      ...(await fileNames(join(world, 'md'))).map((unit) => `md${unit}`),
      ...(existsSync(join(world, 'mounts'))
        ? readFileSync(join(world, 'mounts'), 'utf8').split('\n')
        : []
      ).filter((line) => line !== ''),
      ...(existsSync(join(world, 'violations')) ? [readFileSync(join(world, 'violations'), 'utf8')] : []),
      ...(await fileNames(dir)).filter((name) => name.endsWith('.work')),
    ],
  }
}

/** The commands of customiseActions from the first to the last that changes something; the rest looks for what is left. */
export const workOf = (actions: readonly (readonly string[])[]): readonly (readonly string[])[] =>
  actions.slice(
    actions.findIndex((argv) => argv.join(' ').includes('umask 077; mkdir')),
    actions.findLastIndex((argv) => argv.join(' ').startsWith('mdconfig -d')) + 1,
  )

/** All of a tree that can be told apart: names, kinds, modes, times, contents. */
export const treeOf = (folder: string): string =>
  execFileSync(
    'sh',
    ['-c', "find . -printf '%p %y %m %T@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort"],
    {
      cwd: folder,
      encoding: 'utf8',
    },
  )
