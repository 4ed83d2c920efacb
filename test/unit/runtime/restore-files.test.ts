import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { bringFiles } from '../../../provision/runtime/restore-files.ts'
import { knoxError } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { openFolder } from '../../support/open-box.ts'

/** Files of a snapshot, brought by the real tar, find and cksum. */

const boxWithFiles = async (t: TestContext, patience?: number) => {
  const box = await openFolder(t, ignore, ['bk: a=1', 'bk/photos: a=1 b=2'], patience)
  await mkdir(join(box.files, '2015'))
  await writeFile(join(box.files, '2015', 'cat'), 'meow')
  await writeFile(join(box.files, '2015', 'it’s a dog!'), 'bark')
  const folder = join(box.dir, 'home')
  await mkdir(folder)
  const bring = (path: string, options: { snapshot?: string; source?: string } = {}) =>
    bringFiles(
      box.open,
      { source: 'bk/photos', snapshot: undefined, path, target: folder, ...options },
      folder,
      ignore,
    )
  return { ...box, folder, bring }
}

describe('files of a snapshot', () => {
  test('come from the newest one, or the one that is named, and are counted', async (t) => {
    const { bring, folder } = await boxWithFiles(t)
    assert.deepEqual(await bring('2015'), { snapshot: 'b', files: 2, target: join(folder, '2015') })
    assert.equal(await readFile(join(folder, '2015', 'cat'), 'utf8'), 'meow')
    assert.equal((await bring('2015/it’s a dog!', { snapshot: 'a' })).snapshot, 'a')
  })

  test('that are not there are named: dataset, snapshot or path', async (t) => {
    const { bring } = await boxWithFiles(t)
    await assert.rejects(bring('.', { source: 'bk/no' }), knoxError('config', /has no bk\/no@/))
    await assert.rejects(bring('.', { snapshot: 'c' }), knoxError('config', /has no bk\/photos@c/))
    await assert.rejects(bring('no/such'), knoxError('config', /there is no no\/such in bk\/photos@b/))
  })

  test('are compared for as long as a slow box needs to read them', async (t) => {
    const { bring, program } = await boxWithFiles(t, 3)
    await program('cksum', 'sleep 3.5; exec /usr/bin/cksum "$@"')
    assert.equal((await bring('2015')).files, 2)
  })

  test('that are not the same as on the box are no success', async (t) => {
    const { bring, program, folder } = await boxWithFiles(t)
    await program('cksum', `case $PWD in ${folder}) echo rotten >2015/cat ;; esac; exec /usr/bin/cksum "$@"`)
    await assert.rejects(bring('2015'), knoxError('verification', /are not those of the box/))
  })
})
