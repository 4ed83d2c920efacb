import assert from 'node:assert/strict'
import { chmod, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { checkTarget, writeOverlay } from '../../../provision/image/write-overlay.ts'
import { BOXES, knoxError, overlay, tempFolder } from './helpers.ts'

const modeOf = async (path: string) => (await lstat(path)).mode & 0o7777

const everythingIn = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true })).sort()

describe('writing the overlay', () => {
  for (const [name, keys] of Object.entries(BOXES))
    test(`${name}: every file is there with its content and mode, and nothing else`, async (t) => {
      const out = join(await tempFolder(t), 'new', 'overlay')
      const files = await overlay(keys)
      const mask = process.umask(0o077)
      t.after(() => process.umask(mask))
      await writeOverlay(out, files, false)
      const folders = new Set(['boot', 'etc', 'etc/ssh', 'root'])
      assert.deepEqual(
        await everythingIn(out),
        [...folders, ...files.map(({ path }) => path.slice(1))].sort(),
      )
      for (const { path, mode, content } of files) {
        const to = join(out, path)
        if (typeof content === 'object' && 'linkTo' in content) {
          assert.equal(await readlink(to), content.linkTo)
          continue
        }
        assert.equal(await modeOf(to), mode, path)
        const bytes = content instanceof Secret ? content.reveal() : Buffer.from(content)
        assert.deepEqual(await readFile(to), bytes)
      }
      assert.equal(await modeOf(out), 0o755)
      for (const folder of folders)
        assert.equal(await modeOf(join(out, folder)), folder === 'root' ? 0o700 : 0o755, folder)
    })

  test('run by root, all belongs to root and wheel', { skip: process.getuid?.() !== 0 }, async (t) => {
    const out = join(await tempFolder(t), 'overlay')
    await writeOverlay(out, await overlay(), false)
    for (const path of ['.', ...(await everythingIn(out))]) {
      const { uid, gid } = await lstat(join(out, path))
      assert.deepEqual([uid, gid], [0, 0], path)
    }
  })

  test('a folder that is not empty is refused and left as it is', async (t) => {
    const out = await tempFolder(t)
    await writeFile(join(out, 'mine'), 'x')
    await assert.rejects(writeOverlay(out, await overlay(), false), knoxError('refused', /not empty/))
    await assert.rejects(checkTarget(out, false), knoxError('refused', /not empty/))
    assert.deepEqual(await everythingIn(out), ['mine'])
    await checkTarget(out, true)
  })

  test('an empty folder that is there already is taken, and gets the mode of /', async (t) => {
    const out = await tempFolder(t)
    await chmod(out, 0o700)
    await writeOverlay(out, await overlay(), false)
    assert.equal(await modeOf(out), 0o755)
  })

  test('a file, or a link to a folder, is no target', async (t) => {
    const folder = await tempFolder(t)
    await writeFile(join(folder, 'file'), 'x')
    await mkdir(join(folder, 'real'))
    await symlink('real', join(folder, 'link'))
    for (const name of ['file', 'link'])
      for (const force of [false, true])
        await assert.rejects(
          writeOverlay(join(folder, name), await overlay(), force),
          knoxError('refused', /is not a folder/),
        )
    assert.deepEqual(await everythingIn(folder), ['file', 'link', 'real'])
  })

  test('with force single files are replaced, others and the modes of folders stay', async (t) => {
    const out = join(await tempFolder(t), 'overlay')
    await writeOverlay(out, await overlay({ name: 'old' }), false)
    await writeFile(join(out, 'etc', 'mine'), 'x')
    await writeFile(join(out, 'etc', 'rc.conf'), 'broken', { mode: 0o666 })
    await chmod(join(out, 'etc'), 0o700)
    await chmod(join(out, 'etc', 'ssh', 'ssh_host_ed25519_key'), 0o644)
    const before = await everythingIn(out)
    await writeOverlay(out, await overlay({ name: 'young' }), true)
    assert.deepEqual(await everythingIn(out), before)
    assert.match(await readFile(join(out, 'etc', 'rc.conf'), 'utf8'), /^hostname="young"$/m)
    assert.equal(await modeOf(join(out, 'etc', 'rc.conf')), 0o644)
    assert.equal(await modeOf(join(out, 'etc', 'ssh', 'ssh_host_ed25519_key')), 0o600)
    assert.equal(await modeOf(join(out, 'etc')), 0o700)
    assert.equal(await readFile(join(out, 'etc', 'mine'), 'utf8'), 'x')
  })

  test('with force a plain resolv.conf and the link to one replace each other', async (t) => {
    const out = join(await tempFolder(t), 'overlay')
    const [dhcp, fixed] = [await overlay(), await overlay(BOXES['laptop-static-13.2'])]
    const to = join(out, 'etc', 'resolv.conf')
    await writeOverlay(out, dhcp, false)
    await writeOverlay(out, fixed, true)
    assert.equal((await lstat(to)).isFile(), true)
    await writeOverlay(out, dhcp, true)
    assert.equal(await readlink(to), '/var/run/resolv.conf')
    await writeOverlay(out, dhcp, true)
    assert.equal(await readlink(to), '/var/run/resolv.conf')
  })

  test('a link in the place of a folder is not followed, one in the place of a file is replaced', async (t) => {
    const folder = await tempFolder(t)
    const [out, elsewhere] = [join(folder, 'out'), join(folder, 'elsewhere')]
    await mkdir(join(elsewhere, 'ssh'), { recursive: true })
    await mkdir(out)
    await symlink(elsewhere, join(out, 'etc'))
    await assert.rejects(writeOverlay(out, await overlay(), true), knoxError('refused', /is not a folder/))
    assert.deepEqual(await everythingIn(elsewhere), ['ssh'])

    const other = join(folder, 'other')
    await mkdir(join(other, 'etc'), { recursive: true })
    await writeFile(join(elsewhere, 'target'), 'untouched')
    await symlink(join(elsewhere, 'target'), join(other, 'etc', 'rc.conf'))
    await writeOverlay(other, await overlay(), true)
    assert.equal(await readFile(join(elsewhere, 'target'), 'utf8'), 'untouched')
    assert.equal((await lstat(join(other, 'etc', 'rc.conf'))).isFile(), true)
  })

  test('a folder in the place of a file is refused', async (t) => {
    const out = await tempFolder(t)
    await mkdir(join(out, 'etc', 'fstab'), { recursive: true })
    await assert.rejects(writeOverlay(out, await overlay(), true), knoxError('refused', /is a folder/))
  })
})
