import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Reader } from '../../../provision/core/command.ts'
import { initMetadata } from '../../../provision/geli/init.ts'
import { encodeMetadata } from '../../../provision/geli/metadata.ts'
import { hasPool, keepMetadata, ownMetadata } from '../../../provision/runtime/prepared-disk.ts'
import { HERE, runnerAt } from '../../../provision/system/runner.ts'
import type { Disk } from '../../../provision/tools/disk.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'

const DISK: Disk = {
  name: 'da1',
  description: 'WD',
  serial: 'X1',
  bytes: 2e12,
  sectorBytes: 512,
  inUse: false,
  contents: 'geli',
}
const KEY = Buffer.alloc(1024, 5)
const PROVIDER = { provsize: 2e12, sectorsize: 4096 }
const METADATA = encodeMetadata(await initMetadata({ ...PROVIDER, keyFiles: [KEY] }))
const OTHER = encodeMetadata(await initMetadata({ ...PROVIDER, keyFiles: [Buffer.alloc(1024, 6)] }))

const keyFolder = async (t: TestContext) => {
  const folder = await tempFolder(t)
  await writeFile(join(folder, 'geli.key'), KEY, { mode: 0o600 })
  return folder
}

/** A box whose disk has this metadata. */
const boxWith = (metadata: Buffer): Reader => ({
  read: (command) => Promise.resolve(command.parse(metadata.toString('hex'))),
})
const deaf: Reader = { read: () => Promise.reject(new Error('nothing is to be read')) }

describe('a disk is the box’s own', () => {
  test('if geli.key opens it, whatever its name is and whatever copies are at home', async (t) => {
    const folder = await keyFolder(t)
    assert.deepEqual(await ownMetadata(boxWith(METADATA), folder, DISK), METADATA)
    assert.deepEqual(await ownMetadata(boxWith(METADATA), folder, { ...DISK, name: 'da2' }), METADATA)
    assert.equal(await ownMetadata(boxWith(OTHER), folder, DISK), undefined)
    await writeFile(join(folder, 'geli-metadata-da1.bin'), Buffer.alloc(512))
    assert.deepEqual(await ownMetadata(boxWith(METADATA), folder, DISK), METADATA)
  })

  test('if its metadata are a copy at home under any name, and nothing but GELI and free', async (t) => {
    const folder = await keyFolder(t)
    for (const name of ['geli-metadata-da0.bin', 'geli-metadata-da1.bin.before-20261123T175900Z']) {
      await writeFile(join(folder, name), OTHER)
      assert.deepEqual(await ownMetadata(boxWith(OTHER), folder, DISK), OTHER)
      await rm(join(folder, name))
    }
    for (const other of [{ contents: 'blank' }, { contents: 'data' }, { inUse: true }] as const)
      assert.equal(await ownMetadata(deaf, folder, { ...DISK, ...other }), undefined)
  })

  test('or not, which must be told from not knowing', async (t) => {
    const folder = await keyFolder(t)
    const damaged = Buffer.from(METADATA)
    damaged[100] = damaged.readUInt8(100) ^ 1
    const hint = /cannot be told whether da1.*geli clear da1/s
    await assert.rejects(ownMetadata(boxWith(damaged), folder, DISK), knoxError('verification', hint))
    const newer = Buffer.from(METADATA)
    newer.writeUInt32LE(8, 16)
    await assert.rejects(ownMetadata(boxWith(newer), folder, DISK), knoxError('platform', hint))
    await rm(join(folder, 'geli.key'))
    await assert.rejects(ownMetadata(boxWith(METADATA), folder, DISK), knoxError('config', /disk key/))
  })
})

test('the copy of another disk’s metadata under the same name is kept beside the new one', async (t) => {
  const folder = await tempFolder(t)
  await keepMetadata(folder, 'da0', OTHER)
  await keepMetadata(folder, 'da0', OTHER)
  assert.deepEqual(await readdir(folder), ['geli-metadata-da0.bin'])
  await keepMetadata(folder, 'da0', METADATA)
  assert.deepEqual(await readFile(join(folder, 'geli-metadata-da0.bin')), METADATA)
  const [, before = ''] = (await readdir(folder)).sort()
  assert.match(before, /^geli-metadata-da0\.bin\.before-\d{8}T\d{6}Z$/)
  assert.deepEqual(await readFile(join(folder, before)), OTHER)
})

describe('looking for the pool of a disk', () => {
  /** geli and zpool that write down what they are asked, and end as these files of their folder say. */
  const PROGRAM = `
here=$(dirname "$0")
name=$(basename "$0")-$1
[ "$name" = geli-status ] || echo "$(basename "$0") $*" >>"$here/did"
case $name in
  geli-attach) cat >"$here/key" ;;
  geli-status) cat "$here/attached" 2>/dev/null; exit 0 ;;
esac
left=$(cat "$here/fails-$name" 2>/dev/null || echo 0)
[ "$left" -eq 0 ] || { echo $((left - 1)) >"$here/fails-$name"; echo "$name: no" >&2; exit 1; }`
  const LOOK = [
    'geli attach -p -k - /dev/da1',
    'zpool import -f -N -R /var/run/knox/mnt -o readonly=on -o cachefile=none bk',
  ]

  const here = async (t: TestContext, files: Readonly<Record<string, string>>) => {
    const [dir, folder] = [await tempFolder(t), await keyFolder(t)]
    for (const name of ['geli', 'zpool']) await writeProgram(dir, name, PROGRAM)
    await writeProgram(dir, 'sleep', ':')
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text)
    withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
    return {
      found: () => hasPool(runnerAt(HERE, ignore), folder, DISK, 'bk'),
      did: async () => (await readFile(join(dir, 'did'), 'utf8')).split('\n').slice(0, -1),
      key: () => readFile(join(dir, 'key')),
    }
  }

  test('opens it with the key, imports read-only, and locks it again, though the device is let go of late', async (t) => {
    const box = await here(t, { 'fails-geli-detach': '2' })
    assert.equal(await box.found(), true)
    const detach = 'geli detach da1'
    assert.deepEqual(await box.did(), [...LOOK, 'zpool export bk', detach, detach, detach])
    assert.deepEqual(await box.key(), KEY)
  })

  test('finds none, and locks it again', async (t) => {
    const box = await here(t, { 'fails-zpool-import': '1' })
    assert.equal(await box.found(), false)
    assert.deepEqual(await box.did(), [...LOOK, 'geli detach da1'])
  })

  test('that cannot lock it says so, and one that cannot open it is no answer', async (t) => {
    const open = await here(t, { 'fails-geli-detach': '99', attached: 'da1.eli  ACTIVE  da1\n' })
    await assert.rejects(open.found(), knoxError('left-unlocked', /da1/))
    const shut = await here(t, { 'fails-geli-attach': '1' })
    await assert.rejects(shut.found(), knoxError('failed'))
    assert.deepEqual(await shut.did(), LOOK.slice(0, 1))
  })
})
