import assert from 'node:assert/strict'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { beginDisk, markEncrypted } from '../../provision/runtime/unfinished-disk.ts'
import { exists } from '../../provision/system/files.ts'
import type { Disk } from '../../provision/tools/disk.ts'
import { diskBox, type DiskBox } from '../support/disk-box.ts'

/** `knox prepare-disk` as it is typed, on a disk that is encrypted already. */

const LOOK = ['geli attach', 'zpool import', 'zpool export', 'geli detach']
const copyOf = (box: DiskBox) => join(box.folder, 'geli-metadata-da0.bin')
const markerOf = (box: DiskBox) => exists(join(box.folder, 'unfinished-disk.json'))

const begun: Disk = {
  name: 'da0',
  description: 'WD',
  serial: 'X1',
  bytes: 64 * 1024 * 1024,
  sectorBytes: 512,
  inUse: false,
  contents: 'blank',
}

describe('a disk that geli.key opens', () => {
  test('is not touched whatever was said, and its metadata come home', async (t) => {
    const box = await diskBox(t, 'own')
    const before = await box.written()
    const shown = await box.prepare('--dry-run', '--erase')
    assert.equal(shown.code, 0, shown.stderr)
    assert.match(shown.stdout, /own, and stays as it is/)
    assert.deepEqual([await box.did(), await exists(copyOf(box))], [[], false])
    const { code, stdout, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^the box uses da0 .*stays as it was, and is locked/)
    assert.match(stderr, /it is not erased[^]*geli clear da0/)
    assert.equal(await box.written(), before)
    assert.deepEqual(await box.did(), LOOK)
    assert.deepEqual(await readFile(copyOf(box)), await box.metadata())
  })

  test('and holds no pool is refused, and locked again', async (t) => {
    const box = await diskBox(t, 'own')
    await rm(box.state('pool'))
    const before = await box.written()
    const { code, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 21, stderr)
    assert.match(stderr, /pool bk cannot be imported[^]*nothing was changed[^]*geli clear da0/)
    assert.deepEqual(await box.did(), ['geli attach', 'zpool import', 'geli detach'])
    assert.equal(await box.written(), before)
  })

  test('is known by a copy of its metadata too where the key was replaced, and not erased', async (t) => {
    const box = await diskBox(t, 'own')
    await writeFile(join(box.folder, 'geli-metadata-da7.bin'), await box.metadata())
    await writeFile(join(box.folder, 'geli.key'), Buffer.alloc(1024, 9))
    const before = await box.written()
    const { code, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 12, stderr)
    assert.equal(await box.written(), before)
  })
})

describe('a disk that geli.key does not open', () => {
  test('wants --erase, and then gets keys and a pool of its own', async (t) => {
    const box = await diskBox(t, 'other')
    const before = await box.written()
    const refused = await box.prepare('--yes')
    assert.deepEqual([refused.code, await box.did()], [4, []], refused.stderr)
    assert.match(refused.stderr, /not with the key of this box: it may hold a backup/)
    assert.equal(await box.written(), before)
    const { code, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 0, stderr)
    assert.ok((await box.did()).includes('geli init'))
    assert.deepEqual(await readFile(copyOf(box)), await readFile(box.state('next-metadata')))
  })

  test('or whose metadata cannot be read is not erased', async (t) => {
    const box = await diskBox(t, 'other')
    const metadata = await box.metadata()
    metadata[100] = metadata.readUInt8(100) ^ 1
    await truncate(box.state('dev/da0'), begun.bytes - 512)
    await writeFile(box.state('dev/da0'), metadata, { flag: 'a' })
    const before = await box.written()
    const { code, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 14, stderr)
    assert.match(stderr, /cannot be told whether da0 is the box’s own[^]*geli clear da0/)
    assert.equal(await box.written(), before)
  })
})

describe('a disk whose preparation was cut off', () => {
  test('stays as it is once its pool is there: it may hold a backup', async (t) => {
    const box = await diskBox(t, 'own')
    await markEncrypted(box.folder, await box.metadata())
    const before = await box.written()
    const { code, stderr } = await box.prepare('--yes', '--erase')
    assert.equal(code, 0, stderr)
    assert.equal(await box.written(), before)
    assert.deepEqual(await box.did(), LOOK)
    assert.deepEqual([await exists(copyOf(box)), await markerOf(box)], [true, false])
  })

  test('begins anew without one', async (t) => {
    const box = await diskBox(t, 'own')
    await beginDisk(box.folder, begun)
    await rm(box.state('pool'))
    const { code, stderr } = await box.prepare('--yes')
    assert.equal(code, 0, stderr)
    assert.match(stderr, /was cut off: it begins anew/)
    assert.ok((await box.did()).includes('geli init'))
    assert.deepEqual([await exists(copyOf(box)), await markerOf(box)], [true, false])
  })
})

test('a run that is refused leaves no marker, by which the disk would later be taken for one that was begun', async (t) => {
  const box = await diskBox(t, 'other')
  await writeFile(box.state('pools'), 'bk\n')
  await writeFile(join(box.folder, 'receipt.json'), '{}')
  const before = await box.written()
  const { code, stderr } = await box.prepare('--yes', '--erase')
  assert.equal(code, 4, stderr)
  assert.match(stderr, /a pool bk is in use/)
  assert.equal(await box.written(), before)
  assert.deepEqual([await markerOf(box), await exists(join(box.folder, 'receipt.json'))], [false, true])
})
