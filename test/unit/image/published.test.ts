import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { findPublished, isWhole } from '../../../provision/image/published.ts'
import { tempFolder } from '../../support/expect.ts'

const { signal } = new AbortController()

test('an image that was published is found by what it was made of, and trusted only byte for byte', async (t) => {
  const out = await tempFolder(t)
  const bytes = Buffer.from('an image')
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const image = { name: 'knox-a.img', bytes: bytes.length, sha256 }
  const manifest = { image, inputs: [{ name: 'all', sha256: 'made of this' }] }
  await writeFile(join(out, 'knox-a.json'), JSON.stringify(manifest))
  await writeFile(join(out, 'knox-0.json'), 'somebody else’s "made of this"')
  await writeFile(join(out, image.name), bytes)
  assert.equal(await findPublished(out, 'made of that'), undefined)
  assert.equal(await findPublished(join(out, 'nowhere'), 'made of this'), undefined)
  const found = await findPublished(out, 'made of this')
  assert.ok(found !== undefined)
  assert.equal(found.path, join(out, image.name))
  assert.equal(await isWhole(out, found, { packed: false, signal }), true)
  assert.equal(await isWhole(out, found, { packed: true, signal }), false)
  await writeFile(join(out, image.name), 'an imago')
  assert.equal(await isWhole(out, found, { packed: false, signal }), false)
  await writeFile(join(out, image.name), bytes)
  await truncate(join(out, image.name), 3)
  assert.equal(await isWhole(out, found, { packed: false, signal }), false)
})

test('a manifest that names a file elsewhere is not followed', async (t) => {
  const out = await tempFolder(t)
  const image = { name: 'knox-/../../etc/passwd', bytes: 1, sha256: '' }
  await writeFile(join(out, 'knox-a.json'), JSON.stringify({ image, inputs: [{ sha256: 'x' }] }))
  assert.equal(await findPublished(out, 'x'), undefined)
})
