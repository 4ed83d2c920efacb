import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Change, Read, Runner } from '../../../provision/core/command.ts'
import { KnoxError } from '../../../provision/core/errors.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { checkDisk, checkSame, preparations, prepareDisk } from '../../../provision/runtime/prepare-disk.ts'
import { beginDisk, isUnfinished } from '../../../provision/runtime/unfinished-disk.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { writeRate } from '../../../provision/tools/dd.ts'
import type { Disk } from '../../../provision/tools/disk.ts'
import { ignore } from '../../support/fake-box.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'

const config = parseConfig('box:\n  addresses: [a.b]\n  disk: da1\n  pool: bk\nhome:\n  pool: wd\n', 'f')
const METADATA = Buffer.concat([Buffer.from('GEOM::ELI'), Buffer.alloc(503, 7)])

/** The first two words of a command that changes something, which is enough to tell them apart. */
const nameOf = ({ argv }: Change) => argv.slice(0, 2).join(' ')

/** A root shell on a box: `fails` is the name of the change that fails, `attached` what geli shows afterwards. */
const shell = (options: { fails?: string; attached?: string; metadata?: Buffer; deaf?: boolean } = {}) => {
  const done: Change[] = []
  const runner: Runner = {
    read: <T>(command: Read<T>): Promise<T> => {
      if (options.deaf === true) return Promise.reject(new KnoxError('unreachable', 'gone'))
      const isList = command.argv.join(' ').includes('geli status')
      return Promise.resolve(
        command.parse(isList ? (options.attached ?? '') : (options.metadata ?? METADATA).toString('hex')),
      )
    },
    act: (change) => {
      done.push(change)
      return nameOf(change) === options.fails
        ? Promise.reject(new KnoxError('failed', 'no'))
        : Promise.resolve()
    },
  }
  return { done, runner }
}

const keyFolder = async (t: TestContext) => {
  const folder = await tempFolder(t)
  await writeFile(join(folder, 'geli.key'), 'the key', { mode: 0o600 })
  return folder
}

describe('a disk', () => {
  const disk: Disk = {
    name: 'da1',
    description: 'WD',
    serial: 'X1',
    bytes: 2e12,
    sectorBytes: 512,
    inUse: false,
    contents: 'blank',
  }

  test('in use is never touched, one with data only if that was said (facts 11.27)', () => {
    checkDisk(disk, false)
    for (const contents of ['geli', 'data'] as const) {
      assert.throws(
        () => checkDisk({ ...disk, contents }, false),
        knoxError('refused', /da1 \(WD, serial X1.*--erase/s),
      )
      checkDisk({ ...disk, contents }, true)
    }
    for (const erase of [true, false])
      assert.throws(() => checkDisk({ ...disk, inUse: true }, erase), knoxError('refused', /in use/))
    checkSame(disk, { ...disk, layout: 'GPT' })
    for (const other of [{ serial: 'X2' }, { serial: undefined }, { bytes: 1e12 }, { inUse: true }] as const)
      assert.throws(
        () => checkSame(disk, { ...disk, ...other }),
        knoxError('refused', /is not what it was when it was confirmed.*then da1.*now da1/s),
      )
    for (const contents of ['geli', 'data'] as const)
      assert.throws(() => checkSame(disk, { ...disk, contents }), knoxError('refused'))
    assert.throws(() => checkDisk({ ...disk, bytes: 1e6 }, true), knoxError('refused', /too small/))
  })
})

describe('preparing a disk', () => {
  test('proves the key before the pool is made, ends locked, and brings the metadata home (facts 11.22)', async (t) => {
    const folder = await keyFolder(t)
    const { done, runner } = shell()
    await prepareDisk(config, folder, runner, ignore)
    const names = done.map(nameOf)
    assert.deepEqual(names.slice(0, 3), ['geli init', 'geli attach', 'zpool create'])
    assert.deepEqual(names.slice(-2), ['zpool export', 'geli detach'])
    assert.ok(done.every(({ argv }) => !argv.join(' ').includes('the key')))
    const path = join(folder, 'geli-metadata-da1.bin')
    assert.deepEqual(await readFile(path), METADATA)
    assert.equal((await stat(path)).mode & 0o777, 0o600)
  })

  test('that fails anywhere exports and detaches, and tells what failed', async (t) => {
    const folder = await keyFolder(t)
    for (const fails of ['geli init', 'geli attach', 'zpool create', 'zpool import']) {
      const { done, runner } = shell({ fails })
      await assert.rejects(prepareDisk(config, folder, runner, ignore), knoxError('failed', /^no/))
      assert.deepEqual(done.map(nameOf).slice(-2), ['zpool export', 'geli detach'], fails)
    }
  })

  test('with the disk still attached at the end is left-unlocked, whatever else went wrong', async (t) => {
    const folder = await keyFolder(t)
    for (const fails of ['zpool create', 'none']) {
      const { runner } = shell({ fails, attached: 'da1.eli  ACTIVE  da1\n' })
      await assert.rejects(prepareDisk(config, folder, runner, ignore), knoxError('left-unlocked', /da1/))
    }
  })

  test('cut off from the box is left-unlocked from the attach on, since nobody can look', async (t) => {
    const folder = await keyFolder(t)
    for (const [fails, code] of [
      ['geli init', 'failed'],
      ['geli attach', 'left-unlocked'],
      ['zpool create', 'left-unlocked'],
    ] as const)
      await assert.rejects(
        prepareDisk(config, folder, shell({ fails, deaf: true }).runner, ignore),
        knoxError(code),
      )
  })

  test('with metadata that are none is no success', async (t) => {
    const folder = await keyFolder(t)
    const { runner } = shell({ metadata: Buffer.alloc(512) })
    await assert.rejects(prepareDisk(config, folder, runner, ignore), knoxError('verification'))
  })

  test('without the key touches nothing', async (t) => {
    const { done, runner } = shell()
    const error = await thrownBy(async () => prepareDisk(config, await tempFolder(t), runner, ignore))
    assert.ok(knoxError('config', /disk key is missing/)(error))
    assert.deepEqual(done, [])
  })
})

describe('a disk whose preparation was cut off', () => {
  const disk: Disk = {
    name: 'da1',
    description: 'WD',
    serial: 'X1',
    bytes: 2e12,
    sectorBytes: 512,
    inUse: false,
    contents: 'geli',
  }

  test('is known again by serial number and size, until it is finished', async (t) => {
    const folder = await keyFolder(t)
    assert.equal(await isUnfinished(folder, disk), false)
    await beginDisk(folder, disk)
    assert.equal(await isUnfinished(folder, disk), true)
    assert.equal(await isUnfinished(folder, { ...disk, name: 'da0' }), true)
    for (const other of [{ serial: 'X2' }, { serial: undefined }, { bytes: 1e12 }])
      assert.equal(await isUnfinished(folder, { ...disk, ...other }), false)
    const { runner } = shell({ fails: 'zpool create' })
    await thrownBy(() => prepareDisk(config, folder, runner, ignore))
    assert.equal(await isUnfinished(folder, disk), true)
    await prepareDisk(config, folder, shell().runner, ignore)
    assert.equal(await isUnfinished(folder, disk), false)
  })

  test('without a serial number is never taken for it', async (t) => {
    const folder = await keyFolder(t)
    await beginDisk(folder, { ...disk, serial: undefined })
    assert.equal(await isUnfinished(folder, { ...disk, serial: undefined }), false)
  })
})

describe('the speed of a disk', () => {
  test('is read from what dd says on FreeBSD and on Linux', () => {
    const { parse, argv } = writeRate('/dev/da1', 64)
    assert.deepEqual(argv.slice(-3), ['/dev/da1', '1048576', '64'])
    assert.equal(
      parse(
        '64+0 records in\n64+0 records out\n67108864 bytes transferred in 2.000000 secs (33554432 bytes/sec)\n',
      ),
      33554432,
    )
    assert.equal(parse('64+0 records in\n67108864 bytes (67 MB, 64 MiB) copied, 4 s, 16.8 MB/s\n'), 16777216)
    assert.throws(() => parse('dd: /dev/da1: Input/output error\n'), knoxError('disk'))
  })

  test('is measured raw before init and encrypted before the pool, and only if it was asked for', () => {
    const devices = (speed: boolean) =>
      preparations(config, new Secret('key', ''), speed).flatMap(({ measure, change }) =>
        measure === undefined ? [] : [[measure, nameOf(change)]],
      )
    assert.deepEqual(devices(false), [])
    assert.deepEqual(devices(true), [
      ['/dev/da1', 'geli init'],
      ['/dev/da1.eli', 'zpool create'],
    ])
  })
})
