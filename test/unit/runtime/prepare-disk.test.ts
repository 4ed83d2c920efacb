import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Change, Read, Runner } from '../../../provision/core/command.ts'
import { KnoxError } from '../../../provision/core/errors.ts'
import { failureOf } from '../../../provision/system/runner.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import {
  changesOf,
  checkDisk,
  checkSame,
  preparations,
  prepareDisk,
  wordsOf,
} from '../../../provision/runtime/prepare-disk.ts'
import { beginDisk, isUnfinished, markEncrypted } from '../../../provision/runtime/unfinished-disk.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { writeZeros, writtenRate } from '../../../provision/tools/dd.ts'
import type { Disk } from '../../../provision/tools/disk.ts'
import { ignore } from '../../support/fake-box.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'

const config = parseConfig('box:\n  addresses: [a.b]\n  disk: da1\n  pool: bk\nhome:\n  pool: wd\n', 'f')
const BLANK: Disk = {
  name: 'da1',
  description: 'WD',
  serial: 'X1',
  bytes: 2e12,
  sectorBytes: 512,
  inUse: false,
  contents: 'blank',
}
const METADATA = Buffer.concat([Buffer.from('GEOM::ELI'), Buffer.alloc(503, 7)])

/** The first two words of a command that changes something, which is enough to tell them apart. */
const nameOf = ({ argv }: Change) => argv.slice(0, 2).join(' ')

/** A root shell on a box: `fails` is the name of the change that fails, `attached` what geli shows afterwards. */
const shell = (
  options: {
    fails?: string
    attached?: string
    pools?: string
    metadata?: Buffer
    deaf?: boolean
    rate?: string
  } = {},
) => {
  const done: Change[] = []
  const runner: Runner = {
    read: <T>(command: Read<T>): Promise<T> => {
      const words = command.argv.join(' ')
      const isList = words.includes('geli status')
      // the first look, at a box that answers until it is changed
      if (words.startsWith('zpool list')) return Promise.resolve(command.parse(options.pools ?? 'zroot\n'))
      if (options.deaf === true) return Promise.reject(new KnoxError('unreachable', 'gone'))
      if ((command as unknown) === writtenRate) return Promise.resolve(command.parse(options.rate ?? ''))
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
  const disk = BLANK

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

  test('is confirmed by what is printed on it, and by a word more where it is not blank', () => {
    assert.deepEqual(wordsOf(disk, false), ['X1', 'WD'])
    assert.deepEqual(wordsOf(disk, true), ['X1 ERASE', 'WD ERASE'])
    const bare = { ...disk, serial: undefined, description: 'unknown model' }
    assert.deepEqual([wordsOf(bare, false), wordsOf(bare, true)], [['da1'], ['da1 ERASE']])
  })
})

describe('preparing a disk', () => {
  test('proves the key before the pool is made, ends locked, and brings the metadata home (facts 11.22)', async (t) => {
    const folder = await keyFolder(t)
    const { done, runner } = shell()
    await prepareDisk(config, folder, runner, ignore, BLANK)
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
      await assert.rejects(prepareDisk(config, folder, runner, ignore, BLANK), knoxError('failed', /^no/))
      assert.deepEqual(done.map(nameOf).slice(-2), ['zpool export', 'geli detach'], fails)
    }
  })

  test('whose key does not open it right after init tells of geli’s fault on ARM, and makes no pool', async (t) => {
    const folder = await keyFolder(t)
    const { done, runner } = shell()
    // what geli attach of 10.2 says there, through the runner's own reading of it
    const said = { exitCode: 1, stdout: '', stderr: 'geli: Wrong key for da1.\n', signal: null }
    const arm: Runner = {
      ...runner,
      act: async (change) => {
        await runner.act(change)
        if (nameOf(change) === 'geli attach')
          throw failureOf({ ...said, argv: change.argv }, change.failures ?? [])
      },
    }
    await assert.rejects(
      prepareDisk(config, folder, arm, ignore, BLANK),
      knoxError(
        'key-rejected',
        /the key is wrong\n.*right after init.*32-bit ARM with FreeBSD 10\.2.*Wrong key for da1/s,
      ),
    )
    assert.ok(!done.map(nameOf).includes('zpool create'))
  })

  test('a pool of that name that is there already is refused, and never exported', async (t) => {
    const folder = await keyFolder(t)
    const { done, runner } = shell({ pools: 'zroot\nbk\n' })
    await assert.rejects(
      prepareDisk(config, folder, runner, ignore, BLANK),
      knoxError('refused', /a pool bk is in use/),
    )
    assert.deepEqual(done, [])
  })

  test('with the disk still attached at the end is left-unlocked, whatever else went wrong', async (t) => {
    const folder = await keyFolder(t)
    for (const fails of ['zpool create', 'none']) {
      const { runner } = shell({ fails, attached: 'da1.eli  ACTIVE  da1\n' })
      await assert.rejects(
        prepareDisk(config, folder, runner, ignore, BLANK),
        knoxError('left-unlocked', /da1/),
      )
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
        prepareDisk(config, folder, shell({ fails, deaf: true }).runner, ignore, BLANK),
        knoxError(code),
      )
  })

  test('with metadata that are none is no success', async (t) => {
    const folder = await keyFolder(t)
    const { runner } = shell({ metadata: Buffer.alloc(512) })
    await assert.rejects(prepareDisk(config, folder, runner, ignore, BLANK), knoxError('verification'))
  })

  test('without the key touches nothing', async (t) => {
    const { done, runner } = shell()
    const error = await thrownBy(async () => prepareDisk(config, await tempFolder(t), runner, ignore, BLANK))
    assert.ok(knoxError('config', /disk key is missing/)(error))
    assert.deepEqual(done, [])
  })
})

describe('a disk whose preparation was cut off', () => {
  const disk: Disk = { ...BLANK, contents: 'geli' }

  test('is known again by serial number and size, until it is finished', async (t) => {
    const folder = await keyFolder(t)
    assert.equal(await isUnfinished(shell().runner, folder, disk), false)
    await beginDisk(folder, disk)
    assert.equal(await isUnfinished(shell().runner, folder, disk), true)
    assert.equal(await isUnfinished(shell().runner, folder, { ...disk, name: 'da0' }), true)
    for (const other of [{ serial: 'X2' }, { serial: undefined }, { bytes: 1e12 }])
      assert.equal(await isUnfinished(shell().runner, folder, { ...disk, ...other }), false)
    const { runner } = shell({ fails: 'zpool create' })
    await thrownBy(() => prepareDisk(config, folder, runner, ignore, BLANK))
    assert.equal(await isUnfinished(shell().runner, folder, disk), true)
    await prepareDisk(config, folder, shell().runner, ignore, BLANK)
    assert.equal(await isUnfinished(shell().runner, folder, disk), false)
  })

  test('without a serial number is never taken for it', async (t) => {
    const folder = await keyFolder(t)
    await beginDisk(folder, { ...disk, serial: undefined })
    assert.equal(await isUnfinished(shell().runner, folder, { ...disk, serial: undefined }), false)
  })

  test('once encrypted is known by its GELI metadata, without a serial number too, and no other disk is', async (t) => {
    const folder = await keyFolder(t)
    const bare = { ...disk, serial: undefined }
    await beginDisk(folder, bare)
    await thrownBy(() => prepareDisk(config, folder, shell({ fails: 'zpool create' }).runner, ignore, BLANK))
    assert.equal(await isUnfinished(shell().runner, folder, bare), true)
    const other = shell({ metadata: Buffer.concat([METADATA.subarray(0, 511), Buffer.from([8])]) })
    for (const one of [bare, disk]) assert.equal(await isUnfinished(other.runner, folder, one), false)
    assert.equal(await isUnfinished(shell({ deaf: true }).runner, folder, bare), false)
    assert.equal(await isUnfinished(shell().runner, folder, { ...bare, contents: 'blank' }), false)
  })

  test('that holds data again is the owner’s, whatever it was when it was begun', async (t) => {
    const folder = await keyFolder(t)
    await beginDisk(folder, disk)
    for (const contents of ['blank', 'geli'] as const)
      assert.equal(await isUnfinished(shell().runner, folder, { ...disk, contents }), true)
    assert.equal(await isUnfinished(shell().runner, folder, { ...disk, contents: 'data' }), false)
    await markEncrypted(folder, METADATA)
    assert.equal(await isUnfinished(shell().runner, folder, { ...disk, contents: 'data' }), false)
  })
})

describe('the speed of a disk', () => {
  test('is read from what dd says on FreeBSD and on Linux', () => {
    const { argv } = writeZeros('/dev/da1', 64)
    const { parse } = writtenRate
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

  test('is no reading: every byte that it overwrites is in the list of changes, as it is done', async (t) => {
    const folder = await keyFolder(t)
    const shown = (speed: boolean) =>
      changesOf(preparations(config, new Secret('key', ''), speed)).map(({ argv }) => argv)
    assert.deepEqual(
      shown(true).filter(([program]) => program === '/bin/sh'),
      [writeZeros('/dev/da1', 64).argv, writeZeros('/dev/da1.eli', 64).argv],
    )
    assert.ok(shown(false).every(([program]) => program !== '/bin/sh'))
    const { done, runner } = shell({
      rate: '67108864 bytes transferred in 2.000000 secs (33554432 bytes/sec)',
    })
    assert.equal(await prepareDisk(config, folder, runner, ignore, BLANK, true), 33554432)
    assert.deepEqual(
      done.map(({ argv }) => argv),
      shown(true),
    )
  })

  test('is taken from what dd really said, and a dd that fails says why', async (t) => {
    const file = join(await tempFolder(t), 'disk')
    const run = ({ argv: [program = '', ...words] }: Change | Read<unknown>) =>
      spawnSync(program, words, { encoding: 'utf8' })
    assert.equal(run(writeZeros(file, 1)).status, 0)
    assert.equal((await stat(file)).size, 1024 * 1024)
    const { stdout } = run(writtenRate)
    assert.ok(writtenRate.parse(stdout) > 0)
    const failed = run(writeZeros('/nowhere/at/all', 1))
    assert.deepEqual([failed.status, /nowhere/.test(failed.stderr)], [1, true])
    assert.notEqual(run(writtenRate).status, 0)
  })
})
