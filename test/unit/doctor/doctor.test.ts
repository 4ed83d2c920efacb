import assert from 'node:assert/strict'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { EXIT_CODES } from '../../../provision/core/errors.ts'
import { encodeMetadata, parseMetadata } from '../../../provision/geli/metadata.ts'
import { backupKeys, signLogins, validFor } from '../../../provision/keys/key-folder.ts'
import { writeLastRun } from '../../../provision/runtime/last-run.ts'
import { cronLine } from '../../../provision/runtime/schedule.ts'
import { doctor } from '../../../scripts/doctor.ts'
import { writeProgram } from '../../support/expect.ts'
import { show } from '../../support/terminal.ts'
import { alertHome, DAY, HOUR, lastRun, NOW, type AlertHome } from '../alerts/home.ts'
import { contentOf } from '../keys/folders.ts'
import { passphrase } from '../keys/helpers.ts'

/** `knox doctor` on a home whose every link is a stand-in that can be broken. */

interface Link {
  readonly name: string
  readonly state: string
  readonly text: string
  readonly hint?: string
  readonly code?: string
}

interface Sick extends AlertHome {
  readonly bin: string
  readonly look: () => Promise<{ readonly code: number; readonly links: readonly Link[] }>
  /** the box: what it answers to a login, and to a session */
  readonly box: (session: readonly string[], door?: string) => Promise<void>
}

const DOOR = 'echo "root@192.0.2.1: Permission denied (publickey)." >&2; exit 255'
const GOOD = ['say knox 1 knox locked', 'hear bye', 'say locked']

const FAKE_BOX = join(import.meta.dirname, '../../support/fake-box.sh')
const SCRIPT = join(import.meta.dirname, '../../../scripts/knox.mjs')

const metadataOf = (): Buffer => {
  const empty = Buffer.alloc(512)
  const fields = { version: 7, flags: 0, ealgo: 22, keylen: 256, aalgo: 0, provsize: 2n ** 30n }
  const rest = { sectorsize: 4096, keys: 1, iterations: -1, salt: empty.subarray(0, 64) }
  return encodeMetadata({ ...fields, ...rest, mkeys: Buffer.alloc(384) } as never)
}

const healthy = async (t: TestContext): Promise<Sick> => {
  const home = await alertHome(t)
  const bin = join(home.dir, 'bin')
  const file = join(home.dir, 'knox.yaml')
  const now = (NOW.getTime() - Date.now()) / 1000
  await home.zfs(['wd: a=1 b=2'], { 'wd@a': now + DAY, 'wd@b': now + HOUR, wd: now + DAY })
  await home.proved(now + HOUR, ['bk: a=1 b=2'])
  await writeProgram(bin, 'zpool', String.raw`printf 'ONLINE\t41%%\n'`)
  await writeProgram(bin, 'ssh-keyscan', 'exit 0')
  const line = cronLine({
    ...{ hour: 17, minute: 59, node: process.execPath, script: SCRIPT },
    ...{ config: file, log: join(home.folder, 'knox.log') },
  })
  await writeFile(join(home.dir, 'crontab'), `${line}\n`)
  await writeProgram(bin, 'crontab', `cat '${home.dir}/crontab'`)
  await writeFile(join(home.folder, 'geli-metadata-da0.bin'), metadataOf())
  await mkdir(join(home.dir, 'stick'))
  const box: Sick['box'] = (session, door = DOOR) =>
    writeProgram(
      bin,
      'ssh',
      `case "$*" in\n-V) echo OpenSSH_9.2p1 >&2 ;;\n*PubkeyAuthentication=no*) ${door} ;;\n*) exec sh '${FAKE_BOX}' ${session.map((word) => `'${word}'`).join(' ')} ;;\nesac`,
    ).then(() => undefined)
  await box(GOOD)
  await backupKeys(home.folder, {
    ...{ boxName: 'knox', config: home.yaml, out: join(home.dir, 'stick/keys.tar'), passphrase },
    ...{ now: NOW, force: false },
  })
  return {
    ...home,
    bin,
    box,
    look: async () => {
      const { code, stdout } = await show([doctor], 'doctor', '--json', '--config', file)
      return { code, links: (JSON.parse(stdout) as { links: Link[] }).links }
    },
  }
}

const NAMES = [
  ...['node', 'zfs', 'ssh', 'knox.yaml', 'keys', 'certificates', 'disk key', 'disk metadata', 'copy of keys'],
  ...['pool', 'snapshots', 'names', 'zfs allow', 'schedule', '192.0.2.1', 'login'],
  ...['last run', 'last proof', 'datasets', 'box’s space', 'contents'],
]

/** How one link is broken, and what then is found. */
interface Ill {
  readonly title: string
  readonly link: string
  readonly state: 'attention' | 'broken'
  readonly says: RegExp
  readonly code?: keyof typeof EXIT_CODES
  readonly make: (home: Sick) => Promise<unknown>
}

const ILLS: readonly Ill[] = [
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
    make: async ({ box, bin }) => {
      await box(
        ['err Host key verification failed.', 'exit 255'],
        'echo "Host key verification failed." >&2; exit 255',
      )
      await writeProgram(bin, 'ssh-keyscan', 'echo "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"')
    },
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

describe('knox doctor', () => {
  test('finds nothing at a healthy home, and changes nothing', async (t) => {
    parseMetadata(metadataOf())
    const home = await healthy(t)
    const before = await contentOf(home.dir)
    const { code, links } = await home.look()
    assert.deepEqual(
      links.map(({ name }) => name),
      NAMES,
    )
    const ill = links.filter(({ state }) => state !== 'ok')
    // the stand-in for zfs has no versions, and who is not root is not allowed by it
    assert.deepEqual(
      ill.filter(({ name }) => !['zfs', 'zfs allow'].includes(name)),
      [],
    )
    assert.equal(code, 0)
    assert.deepEqual(await contentOf(home.dir), before)
  })

  for (const { title, link, state, says, code, make } of ILLS)
    test(`${title}: ${state}, with what to do`, async (t) => {
      const home = await healthy(t)
      await make(home)
      const { code: exit, links } = await home.look()
      const found = links.find(({ name }) => name === link)!
      assert.equal(found.state, state, JSON.stringify(links, null, 1))
      assert.match(`${found.text} ${found.hint ?? ''}`, says)
      assert.ok((found.hint ?? '') !== '' || state === 'broken')
      assert.equal(found.code, code)
      // the chain goes on behind a broken link, and the first broken one says the exit code
      assert.deepEqual(
        links.map(({ name }) => name),
        NAMES,
      )
      const first = links.find((one) => one.state === 'broken')?.code ?? 'ok'
      assert.equal(exit, EXIT_CODES[first as keyof typeof EXIT_CODES])
    })

  test('without a knox.yaml, or with a wrong one, looks at the programs and says what to do', async (t) => {
    const home = await healthy(t)
    const file = join(home.dir, 'knox.yaml')
    await writeFile(file, 'box: 5\n')
    const wrong = await home.look()
    assert.deepEqual(
      wrong.links.map(({ name }) => name),
      ['node', 'zfs', 'ssh', 'knox.yaml'],
    )
    assert.equal(wrong.code, EXIT_CODES.config)
    await rm(file)
    const { code, links } = await home.look()
    assert.equal(code, EXIT_CODES.config)
    assert.match(links.at(-1)?.hint ?? '', /cp knox\.example\.yaml/)
  })

  test('without keys or address says so, and looks at all the rest', async (t) => {
    const home = await healthy(t)
    const file = join(home.dir, 'knox.yaml')
    await writeFile(file, home.yaml.replace('192.0.2.1', ''))
    const lost = (await home.look()).links.find(({ name }) => name === 'login')
    assert.deepEqual(
      [lost?.state, lost?.code, lost?.text],
      ['broken', 'config', 'knox.yaml names no address of the box'],
    )
    await rm(home.folder, { recursive: true })
    const { code, links } = await home.look()
    assert.equal(code, EXIT_CODES.config)
    assert.match(links.find(({ name }) => name === 'keys')?.hint ?? '', /knox keys init/)
    assert.ok(links.some(({ name }) => name === 'pool'))
  })

  test('for people is one line a link', async (t) => {
    const home = await healthy(t)
    await rm(join(home.folder, 'keys-backup.json'))
    const { stdout } = await show([doctor], 'doctor', '--config', join(home.dir, 'knox.yaml'))
    assert.equal(stdout.trimEnd().split('\n').length, NAMES.length)
    assert.match(stdout, /^ok {9}node +v/m)
    assert.match(stdout, /^attention {2}copy of keys +the keys as .* {2}-> {2}knox keys backup FILE/m)
  })
})
