import assert from 'node:assert/strict'
import fs, { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { homeFolder, loadConfig, parseConfig } from '../../../provision/system/config-file.ts'
import {
  ensurePrivateDir,
  exists,
  readSecretFile,
  readTextIfAny,
  withTempDir,
  writeFileAtomic,
} from '../../../provision/system/files.ts'
import { run } from '../../../provision/system/process.ts'
import { knoxError, tempFolder, thrownBy, withEnv } from '../../support/expect.ts'
import { failWith, onSync } from '../../support/syncs.ts'

const modeOf = async (path: string) => (await stat(path)).mode & 0o7777

describe('a file written at once', () => {
  test('is whole, 0600 or as asked whatever the umask, and leaves nothing beside it', async (t) => {
    const dir = await tempFolder(t)
    const before = process.umask(0)
    t.after(() => process.umask(before))
    for (const umask of [0, 0o022, 0o777]) {
      process.umask(umask)
      await writeFileAtomic(join(dir, `a${umask}`), 'text')
      await writeFileAtomic(join(dir, `b${umask}`), Buffer.from([0, 255]), { mode: 0o644 })
      assert.deepEqual(
        [await modeOf(join(dir, `a${umask}`)), await modeOf(join(dir, `b${umask}`))],
        [0o600, 0o644],
      )
      assert.deepEqual([...(await readFile(join(dir, `b${umask}`)))], [0, 255])
    }
    process.umask(before)
    assert.equal((await readdir(dir)).length, 6)
  })

  test('holds a secret’s bytes, not its label', async (t) => {
    const path = join(await tempFolder(t), 'key')
    await writeFileAtomic(path, new Secret('key', Buffer.from([1, 0, 2])))
    assert.deepEqual([...(await readFile(path))], [1, 0, 2])
  })

  test('replaces nothing unless told so: what stands there stays as it was', async (t) => {
    const dir = await tempFolder(t)
    const path = join(dir, 'key')
    await writeFileAtomic(path, 'old')
    await assert.rejects(writeFileAtomic(path, 'new'), knoxError('refused', /exists already.*--force/s))
    assert.equal(await readFile(path, 'utf8'), 'old')
    await symlink('nowhere', join(dir, 'dangling'))
    await assert.rejects(writeFileAtomic(join(dir, 'dangling'), 'new'), knoxError('refused'))
    await writeFileAtomic(path, 'new', { replace: true })
    assert.equal(await readFile(path, 'utf8'), 'new')
    assert.deepEqual((await readdir(dir)).sort(), ['dangling', 'key'])
  })

  test('of many that want the same name at once one wins, and its file is whole', async (t) => {
    const dir = await tempFolder(t)
    const path = join(dir, 'lock')
    const texts = Array.from({ length: 40 }, (_, n) => `${n} `.repeat(20_000))
    const results = await Promise.allSettled(texts.map((text) => writeFileAtomic(path, text)))
    const won = results.findIndex(({ status }) => status === 'fulfilled')
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
    assert.equal(await readFile(path, 'utf8'), texts[won])
    assert.deepEqual(await readdir(dir), ['lock'])
  })

  test('that fails leaves what was there, and no part of the new one', async (t) => {
    const dir = await tempFolder(t)
    await writeFile(join(dir, 'key'), 'old')
    // 16 KiB of room: the write fails half way
    const root = join(import.meta.dirname, '../../..')
    const code = `import('${root}/provision/system/files.ts').then(async ({ writeFileAtomic }) => {
      process.on('SIGXFSZ', () => undefined)
      const failed = await writeFileAtomic('${dir}/key', Buffer.alloc(1e6, 'secret'), { replace: true }).catch((e) => e.code)
      console.log(failed)
    })`
    const script = `ulimit -f 16; exec node --import tsx -e "$1"`
    const { stdout, stderr } = await run([
      'env',
      '-C',
      root,
      'TSX_DISABLE_CACHE=1',
      'sh',
      '-c',
      script,
      'sh',
      code,
    ])
    assert.equal(stdout, 'EFBIG\n', stderr)
    assert.equal(await readFile(join(dir, 'key'), 'utf8'), 'old')
    assert.deepEqual(await readdir(dir), ['key'])
  })

  /** A file system without links: FAT says EPERM on Linux, EOPNOTSUPP on FreeBSD, which node calls ENOTSUP. */
  const withoutLinks = (t: TestContext, code: string): void => {
    t.mock.method(fs, 'link', () => failWith(code))
    syncBuiltinESMExports()
    t.after(() => {
      t.mock.restoreAll()
      syncBuiltinESMExports()
    })
  }

  for (const code of ['EPERM', 'ENOTSUP'])
    test(`where there are no links (${code}) is whole all the same, and replaces nothing`, async (t) => {
      withoutLinks(t, code)
      const dir = await tempFolder(t)
      const path = join(dir, 'knox.yaml')
      const results = await Promise.allSettled(['a', 'b', 'c'].map((text) => writeFileAtomic(path, text)))
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      assert.match(await readFile(path, 'utf8'), /^[abc]$/)
      await assert.rejects(writeFileAtomic(path, 'new'), knoxError('refused'))
      assert.match(await readFile(path, 'utf8'), /^[abc]$/)
      assert.deepEqual(await readdir(dir), ['knox.yaml'])
    })

  test('has its name on the disk too: the folder is synced once it stands there', async (t) => {
    const dir = await tempFolder(t)
    const seen = await onSync(t, dir)
    await writeFileAtomic(join(dir, 'a'), 'x')
    assert.deepEqual(seen.at(-1), ['a'])
    await writeFileAtomic(join(dir, 'b'), 'x', { replace: true })
    assert.deepEqual(seen.at(-1), ['a', 'b'])
  })

  test('is no failure where a folder cannot be synced, and one where the disk fails', async (t) => {
    const dir = await tempFolder(t)
    for (const code of ['EINVAL', 'ENOTSUP']) {
      await onSync(t, dir, () => failWith(code))
      await writeFileAtomic(join(dir, code), 'x')
    }
    await onSync(t, dir, () => failWith('EIO'))
    await assert.rejects(writeFileAtomic(join(dir, 'c'), 'x'), { code: 'EIO' })
  })

  test('in a folder that is not there is an error', async (t) => {
    await assert.rejects(writeFileAtomic(join(await tempFolder(t), 'no', 'key'), 'x'), { code: 'ENOENT' })
  })
})

describe('files and folders', () => {
  test('a private folder is 0700 with its parents, and one that exists is left alone', async (t) => {
    const dir = await tempFolder(t)
    await ensurePrivateDir(join(dir, 'a', 'b'))
    assert.deepEqual([await modeOf(join(dir, 'a')), await modeOf(join(dir, 'a', 'b'))], [0o700, 0o700])
    await ensurePrivateDir(join(dir, 'a', 'b'))
  })

  test('a temporary folder is private and is gone afterwards, also after a failure', async () => {
    const seen: string[] = []
    const work = async (dir: string) => {
      seen.push(dir)
      assert.equal(await modeOf(dir), 0o700)
      await writeFile(join(dir, 'x'), 'x')
      throw new Error('why')
    }
    await assert.rejects(withTempDir(work), /why/)
    assert.ok(!(await exists(seen[0]!)))
    assert.equal(await withTempDir((dir) => Promise.resolve(dir.length > 0)), true)
  })

  test('a file that is missing is undefined, one that cannot be read is an error', async (t) => {
    const dir = await tempFolder(t)
    assert.equal(await readTextIfAny(join(dir, 'none')), undefined)
    await assert.rejects(readTextIfAny(dir), { code: 'EISDIR' })
  })

  test('a secret file must be there, and readable by its owner only', async (t) => {
    const path = join(await tempFolder(t), 'geli.key')
    await assert.rejects(readSecretFile(path, 'disk key'), knoxError('config', /the disk key is missing/))
    await writeFile(path, Buffer.from([0, 1, 255]))
    for (const mode of [0o640, 0o604, 0o610, 0o601]) {
      await chmod(path, mode)
      await assert.rejects(readSecretFile(path, 'disk key'), knoxError('config', /chmod 600/))
    }
    await chmod(path, 0o400)
    assert.deepEqual([...(await readSecretFile(path, 'disk key')).reveal()], [0, 1, 255])
  })
})

describe('the lookup of knox.yaml', () => {
  const text = (pool: string) => `box:\n  addresses: [a.b]\nhome:\n  pool: ${pool}\n`

  test('--config, then the current folder, then the home folder, and else an error that names them', async (t) => {
    const [here, home] = [await tempFolder(t), await tempFolder(t)]
    const old = process.cwd()
    t.after(() => process.chdir(old))
    process.chdir(here)
    withEnv(t, { HOME: home })
    const error = await thrownBy(() => loadConfig(undefined))
    assert.ok(knoxError('config', /knox\.example\.yaml/)(error))
    assert.ok(
      String(error).includes(join(here, 'knox.yaml')) &&
        String(error).includes(join(home, '.config/knox/knox.yaml')),
    )

    await mkdir(join(home, '.config/knox'), { recursive: true })
    await writeFile(join(home, '.config/knox/knox.yaml'), text('fromhome'))
    assert.equal((await loadConfig(undefined)).home.pool, 'fromhome')
    await writeFile(join(here, 'knox.yaml'), text('fromhere'))
    assert.equal((await loadConfig(undefined)).home.pool, 'fromhere')
    await writeFile(join(here, 'other.yaml'), text('fromflag'))
    assert.equal((await loadConfig('other.yaml')).home.pool, 'fromflag')
  })

  test('a --config that is not there is an error, though there is a knox.yaml', async (t) => {
    const dir = await tempFolder(t)
    const missing = join(dir, 'missing.yaml')
    await assert.rejects(loadConfig(missing), knoxError('config', new RegExp(missing)))
    await assert.rejects(loadConfig(dir), knoxError('config', /cannot be read/))
  })

  test('a wrong one in the current folder is not passed over', async (t) => {
    const path = join(await tempFolder(t), 'knox.yaml')
    await writeFile(path, 'box: 1\n')
    await assert.rejects(loadConfig(path), knoxError('config', new RegExp(`^${path}:1:6: box: `)))
  })

  test('keys and receipts are in home.folder, or in a folder of the box’s name', () => {
    const config = parseConfig(text('wd'), 'f')
    assert.equal(homeFolder(config), join(homedir(), '.config/knox/knox'))
    assert.equal(homeFolder(parseConfig(`${text('wd')}  folder: /k\n`, 'f')), '/k')
  })
})
