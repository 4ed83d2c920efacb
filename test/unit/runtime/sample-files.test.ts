import assert from 'node:assert/strict'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { drillReport } from '../../../provision/runtime/drill.ts'
import { findFiles, pickFiles, sha256Of, wirePath } from '../../../provision/runtime/sample-files.ts'
import { knoxError, tempFolder } from '../../support/expect.ts'

const tree = async (t: TestContext, count: number): Promise<string> => {
  const folder = await tempFolder(t)
  for (let n = 0; n < count; n += 1) {
    const below = join(folder, `d${n % 7}`, `e${n % 3}`)
    await mkdir(below, { recursive: true })
    await writeFile(join(below, `f${n}`), 'x'.repeat(100))
  }
  return folder
}

describe('files that are compared next', () => {
  test('a round comes to every file once, however small the budget', async (t) => {
    const folder = await tree(t, 60)
    const seen: string[] = []
    let after = ''
    for (let runs = 0; runs < 100; runs += 1) {
      const { files, isLast } = await pickFiles(folder, after, 450)
      seen.push(...files.map(({ path }) => path.toString()))
      assert.ok(files.length <= 5)
      if (isLast) break
      after = files.at(-1)?.key ?? ''
    }
    assert.deepEqual([seen.length, new Set(seen).size], [60, 60])
  })

  test('a file larger than the budget has its turn too', async (t) => {
    const folder = await tempFolder(t)
    await writeFile(join(folder, 'film'), 'x'.repeat(5000))
    const { files, isLast } = await pickFiles(folder, '', 10)
    assert.deepEqual([files.length, files[0]?.bytes, isLast], [1, 5000, true])
  })

  test('a drill passes over those that a temporary folder has no room for', async (t) => {
    const folder = await tree(t, 3)
    await writeFile(join(folder, 'film'), 'x'.repeat(5000))
    const { files } = await pickFiles(folder, '', 1000, undefined, 1000)
    assert.deepEqual(
      files.map(({ bytes }) => bytes),
      [100, 100, 100],
    )
  })

  test('names need not be text; links and what is behind them are left out', async (t) => {
    const folder = await tempFolder(t)
    const odd = Buffer.from([0xff, 0xfe, 0x0a])
    await writeFile(Buffer.concat([Buffer.from(`${folder}/`), odd]), 'odd')
    await symlink('/etc', join(folder, 'etc'))
    const { files } = await pickFiles(folder, '', 1000)
    assert.deepEqual(
      files.map(({ path }) => path),
      [odd],
    )
    assert.equal(
      await sha256Of(folder, odd),
      '990cb8ebd0afb7150da453a213036a92f2c05e091df0d803e62d257ea7796c27',
    )
    assert.deepEqual(await pickFiles(await tempFolder(t), '', 1000), { files: [], isLast: true })
  })

  test('a folder that cannot be read is told and left out, and a file in it is not taken for gone', async (t) => {
    const folder = await tree(t, 14)
    await chmod(folder, 0o755)
    await chmod(join(folder, 'd1'), 0)
    const unread: string[] = []
    const isRoot = process.getuid?.() === 0
    if (isRoot) process.seteuid?.(65_534)
    try {
      const onUnread = (path: Buffer) => unread.push(path.toString())
      const { files, isLast } = await pickFiles(folder, '', 10_000, undefined, undefined, onUnread)
      assert.deepEqual([files.length, isLast, unread], [12, true, ['d1']])
      const asked = ['d1/e1/f1', 'd2/e2/f2', 'd2/none'].map((path) => Buffer.from(path))
      const found = await findFiles(folder, asked)
      assert.deepEqual(
        found.map(({ bytes }) => bytes),
        [0, 100],
      )
      await assert.rejects(sha256Of(folder, Buffer.from('d1/e1/f1')), /EACCES/)
    } finally {
      if (isRoot) process.seteuid?.(0)
      await chmod(join(folder, 'd1'), 0o755)
    }
  })

  test('on the wire every unusual byte is \\0ooo', () => {
    assert.equal(wirePath(Buffer.from('a b/c-d_1.x')), 'a b/c-d_1.x')
    assert.equal(
      wirePath(Buffer.from('ü\n\\$\'"\t%')),
      '\\0303\\0274\\0012\\0134\\0044\\0047\\0042\\0011\\0045',
    )
  })
})

test('a drill that tried nothing, or brought something else, is no success', () => {
  const same = { name: 'wd@a: cat', bytes: 4, isSame: true }
  assert.deepEqual(drillReport([same]), { files: ['wd@a: cat'], bytes: 4 })
  assert.throws(() => drillReport([]), knoxError('partial', /no file was tried/))
  assert.throws(() => drillReport([same, { ...same, isSame: false }]), knoxError('verification', /wd@a: cat/))
})
