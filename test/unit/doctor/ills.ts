import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EXIT_CODES } from '../../../provision/core/errors.ts'
import { signLogins, validFor } from '../../../provision/keys/key-folder.ts'
import { writeLastRun } from '../../../provision/runtime/last-run.ts'
import { cronLine } from '../../../provision/runtime/schedule.ts'
import { writeProgram } from '../../support/expect.ts'
import { DAY, HOUR, lastRun, NOW } from '../alerts/home.ts'
import { passphrase } from '../keys/helpers.ts'
import { SCRIPT, type Sick } from './home.ts'

/** How one link is broken, and what then is found. */
export interface Ill {
  readonly title: string
  readonly link: string
  readonly state: 'attention' | 'broken'
  readonly says: RegExp
  readonly code?: keyof typeof EXIT_CODES
  readonly make: (home: Sick) => Promise<unknown>
}

export const ILLS: readonly Ill[] = [
  {
    ...{ title: 'no zfs', link: 'pool', state: 'broken', code: 'config', says: /does not exist at home/ },
    make: ({ bin }) => writeProgram(bin, 'zpool', `echo "no such pool 'wd'" >&2; exit 1`),
  },
  {
    ...{ title: 'a pool that is ill', link: 'pool', state: 'attention', says: /DEGRADED.*zpool status wd/ },
    make: ({ bin }) => writeProgram(bin, 'zpool', String.raw`printf 'DEGRADED\t41%%\n'`),
  },
  {
    ...{ title: 'a pool that is full', link: 'pool', state: 'attention', says: /91 % full/ },
    make: ({ bin }) => writeProgram(bin, 'zpool', String.raw`printf 'ONLINE\t91\n'`),
  },
  {
    ...{
      title: 'an old ssh',
      link: 'ssh',
      state: 'broken',
      code: 'platform',
      says: /OpenSSH_6\.5.* too old/,
    },
    make: ({ bin }) => writeProgram(bin, 'ssh', 'echo OpenSSH_6.5p1 >&2'),
  },
  {
    ...{ title: 'a folder open to others', link: 'keys', state: 'attention', says: /others may enter/ },
    make: ({ folder }) => chmod(folder, 0o755),
  },
  {
    ...{
      title: 'a disk key open to others',
      link: 'keys',
      state: 'broken',
      code: 'config',
      says: /geli\.key/,
    },
    make: ({ folder }) => chmod(join(folder, 'geli.key'), 0o644),
  },
  {
    ...{ title: 'no disk key', link: 'disk key', state: 'broken', code: 'config', says: /missing.*restore/ },
    make: ({ folder }) => rm(join(folder, 'geli.key')),
  },
  {
    ...{ title: 'another disk key', link: 'disk key', state: 'attention', says: /64 bytes, not 1024/ },
    make: ({ folder }) => writeFile(join(folder, 'geli.key'), Buffer.alloc(64)),
  },
  {
    ...{ title: 'an expired certificate', link: 'certificates', state: 'broken', says: /expired.*renew/ },
    code: 'key-rejected',
    make: ({ folder }) =>
      signLogins(folder, {
        ...{ logins: ['knox-send'], passphrase, sourceAddress: [] },
        validity: validFor(1, new Date(Date.now() - 2 * DAY * 1000)),
      }),
  },
  {
    ...{ title: 'no metadata', link: 'disk metadata', state: 'attention', says: /no copy.*prepare-disk/ },
    make: ({ folder }) => rm(join(folder, 'geli-metadata-da0.bin')),
  },
  {
    ...{ title: 'damaged metadata', link: 'disk metadata', state: 'attention', says: /is damaged/ },
    make: ({ folder }) => writeFile(join(folder, 'geli-metadata-da0.bin'), Buffer.alloc(512)),
  },
  {
    ...{ title: 'no copy of the keys', link: 'copy of keys', state: 'attention', says: /keys backup/ },
    make: ({ folder }) => rm(join(folder, 'keys-backup.json')),
  },
  {
    ...{ title: 'old snapshots', link: 'snapshots', state: 'attention', says: /3 d 0 h old.*snapback/ },
    make: ({ zfs }) => {
      const now = (NOW.getTime() - Date.now()) / 1000
      return zfs(['wd: a=1 b=2'], { 'wd@a': now + 3 * DAY, 'wd@b': now + 3 * DAY })
    },
  },
  {
    ...{ title: 'an odd name', link: 'names', state: 'attention', says: /such as wd@b,c/ },
    make: ({ zfs }) => zfs(['wd: a=1 b,c=2']),
  },
  {
    ...{ title: 'no schedule', link: 'schedule', state: 'attention', says: /knox schedule runs it/ },
    make: ({ dir }) => writeFile(join(dir, 'crontab'), '0 1 * * * other\n'),
  },
  {
    ...{ title: 'a schedule that is commented out', link: 'schedule', state: 'attention' },
    says: /no line for it.*knox schedule runs it/,
    make: async ({ dir }) => {
      const file = join(dir, 'crontab')
      await writeFile(file, `#${await readFile(file, 'utf8')}`)
    },
  },
  {
    ...{ title: 'a schedule of another node', link: 'schedule', state: 'attention', says: /another node/ },
    make: async ({ dir, folder }) =>
      writeFile(
        join(dir, 'crontab'),
        `${cronLine({
          ...{ hour: 1, minute: 2, node: '/gone/node', script: SCRIPT, config: join(dir, 'knox.yaml') },
          log: join(folder, 'knox.log'),
        })}\n`,
      ),
  },
  {
    ...{ title: 'nobody at the address', link: 'login', state: 'broken', code: 'unreachable' },
    says: /does not answer at any address/,
    make: ({ box }) =>
      box(
        ['err ssh: connect to host: Connection refused', 'exit 255'],
        'echo "Connection refused" >&2; exit 255',
      ),
  },
  {
    ...{ title: 'another machine', link: '192.0.2.1', state: 'broken', code: 'key-rejected' },
    says: /another machine than the box.*its host key is SHA256:/,
    make: ({ box }) =>
      box(
        ['err Host key verification failed.', 'exit 255'],
        'echo "Host key verification failed." >&2; exit 255',
        '192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA',
      ),
  },
  {
    ...{ title: 'a refused certificate', link: 'login', state: 'broken', code: 'key-rejected' },
    says: /does not accept the certificate.*renew/,
    make: ({ box }) => box(['err root@192.0.2.1: Permission denied (publickey).', 'exit 255']),
  },
  {
    ...{
      title: 'a box without its disk',
      link: 'login',
      state: 'broken',
      code: 'disk',
      says: /misses its disk/,
    },
    make: ({ box }) => box(['say knox 1 knox missing', 'hear bye', 'say locked']),
  },
  {
    ...{
      title: 'a disk left unlocked',
      link: 'login',
      state: 'attention',
      says: /left unlocked.*locked now/,
    },
    make: ({ box }) => box(['say knox 1 knox unlocked', 'hear bye', 'say locked']),
  },
  {
    ...{ title: 'a disk that cannot be locked', link: 'login', state: 'broken', code: 'left-unlocked' },
    says: /could not lock/,
    make: ({ box }) => box(['say knox 1 knox unlocked', 'hear bye', 'say failed lock busy']),
  },
  {
    ...{
      title: 'a box of another time',
      link: 'login',
      state: 'broken',
      code: 'platform',
      says: /version 2/,
    },
    make: ({ box }) => box(['say knox 2 knox locked']),
  },
  {
    ...{ title: 'a busy box', link: 'login', state: 'attention', says: /busy.*look again later/ },
    make: ({ box }) => box(['say failed busy']),
  },
  {
    ...{ title: 'a last run that failed', link: 'last run', state: 'broken', code: 'no-space', says: /full/ },
    make: ({ folder }) =>
      writeLastRun(folder, lastRun({ exit: 'no-space', code: 18, message: 'the disk is full' })),
  },
  {
    ...{
      title: 'no proof',
      link: 'last proof',
      state: 'broken',
      code: 'failed',
      says: /ever proved.*backup/,
    },
    make: ({ folder }) => rm(join(folder, 'receipt.json')),
  },
  {
    ...{ title: 'little room', link: 'box’s space', state: 'attention', says: /only 5\.\d % of/ },
    make: ({ proved }) => proved((NOW.getTime() - Date.now()) / 1000 + HOUR, ['bk: a=1 b=2'], 60),
  },
  {
    ...{
      title: 'a dataset left behind',
      link: 'datasets',
      state: 'attention',
      says: /newer snapshots of wd/,
    },
    make: async ({ zfs, proved }) => {
      const now = (NOW.getTime() - Date.now()) / 1000
      await zfs(['wd: a=1 b=2'], { 'wd@b': now + 3 * DAY })
      await proved(now + HOUR, ['bk: a=1'])
    },
  },
  {
    ...{
      title: 'damage on the disk',
      link: 'contents',
      state: 'broken',
      code: 'verification',
      says: /damaged/,
    },
    make: ({ folder }) =>
      writeFile(
        join(folder, 'scrub.json'),
        JSON.stringify({
          ...{ version: 1, at: NOW.toISOString(), finished: null, state: 'DEGRADED', scrub: 'finished' },
          ...{ percent: null, errors: 1, damaged: [] },
        }),
      ),
  },
]
