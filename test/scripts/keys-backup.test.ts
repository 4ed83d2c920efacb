import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test, type TestContext } from 'node:test'
import { initKeys, lastKeysBackup } from '../../provision/keys/key-folder.ts'
import { Secret } from '../../provision/core/secret.ts'
import { tempFolder, writeProgram } from '../support/expect.ts'

/** `knox keys backup` and `keys restore` as they are typed. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const NOW = new Date('2026-11-23T12:00:00.000Z')
const PASSPHRASE = 'words for the file'

const makeHome = async (t: TestContext) => {
  const dir = await tempFolder(t)
  const folder = join(dir, 'keys')
  const key = { boxName: 'knox', passphrase: new Secret('passphrase', 'words for the keys'), now: NOW }
  await initKeys(folder, { ...key, force: false })
  await initKeys(folder, { ...key, force: true })
  await writeFile(join(folder, 'geli-metadata-da0.bin'), 'GEOM::ELI and more', { mode: 0o600 })
  const yaml = `# mine\nbox:\n  addresses: [192.0.2.1]\nhome:\n  pool: tank\n  folder: ${folder}\n`
  await writeFile(join(dir, 'knox.yaml'), yaml)
  await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
  const knox = async (words: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const all = ['keys', ...words, '--passphrase-file', 'pass']
    const child = spawn(process.execPath, [KNOX, ...all], {
      cwd: dir,
      env: { ...process.env, HOME: dir, ...env },
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [code] = (await once(child, 'close')) as [number]
    return { code, stdout, stderr }
  }
  return { dir, folder, knox }
}

const contents = async (folder: string): Promise<Record<string, string>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const pairs = files
    .filter((file) => !file.endsWith('keys-backup.json'))
    .map(async (file) => [file.slice(folder.length), (await readFile(file)).toString('hex')] as const)
  return Object.fromEntries(await Promise.all(pairs))
}

test('all keys come back from the file, with knox.yaml and the keys that were replaced', async (t) => {
  const { dir, folder, knox } = await makeHome(t)
  const before = await contents(folder)
  // what grows, and what is about this machine only, stays out
  await writeFile(join(folder, 'knox.log'), Buffer.alloc(5 * 1024 * 1024))
  await writeFile(join(folder, 'ssh_config'), 'made anew by itself')
  await writeFile(join(folder, 'deletions.json'), Buffer.alloc(5 * 1024 * 1024))
  const made = await knox(['backup', 'stick.tar'])
  assert.equal(made.code, 0, made.stderr)
  assert.match(made.stdout, /opened once with openssl and tar[^]*tar -xf \S*stick\.tar && openssl dgst/)
  assert.equal((await lastKeysBackup(folder))?.file, join(dir, 'stick.tar'))
  assert.equal((await stat(join(dir, 'stick.tar'))).mode & 0o777, 0o600)
  const sheet = await readFile(join(dir, 'stick.tar.txt'), 'utf8')
  assert.match(sheet, /SHA256:[^]*SHA256:[^]*openssl enc -d/)
  await mkdir(join(dir, 'gone'))
  await rename(folder, join(dir, 'gone/keys'))
  await rename(join(dir, 'knox.yaml'), join(dir, 'gone/knox.yaml'))
  const restored = await knox(['restore', 'stick.tar'])
  assert.equal(restored.code, 0, restored.stderr)
  assert.deepEqual(await contents(folder), before)
  assert.equal(
    await readFile(join(dir, 'knox.yaml'), 'utf8'),
    await readFile(join(dir, 'gone/knox.yaml'), 'utf8'),
  )
  const modes = spawnSync('find', [folder, '-type', 'f', '!', '-perm', '600'], { encoding: 'utf8' })
  assert.equal(modes.stdout, '')
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  // once more: nothing that is there is replaced
  const again = await knox(['restore', 'stick.tar'])
  assert.deepEqual([again.code, /exists already/.test(again.stderr)], [4, true], again.stderr)
})

test('a file that is there stays unless --force is said, and none is put into the key folder itself', async (t) => {
  const { dir, folder, knox } = await makeHome(t)
  await writeFile(join(dir, 'stick.tar'), 'photographs')
  assert.equal((await knox(['backup', 'stick.tar'])).code, 4)
  assert.equal(await readFile(join(dir, 'stick.tar'), 'utf8'), 'photographs')
  assert.equal((await knox(['backup', 'stick.tar', '--force'])).code, 0)
  assert.equal((await knox(['backup', join(folder, 'copy.tar')])).code, 2)
  assert.equal((await knox(['backup'])).code, 2)
})

test('a wrong passphrase ends with 12, a damaged file with 14, and nothing is written', async (t) => {
  const { dir, knox } = await makeHome(t)
  assert.equal((await knox(['backup', 'stick.tar'])).code, 0)
  await writeFile(join(dir, 'pass'), 'other words, as long\n')
  assert.equal((await knox(['restore', 'stick.tar', '--to', join(dir, 'new')])).code, 12)
  await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`)
  const bytes = await readFile(join(dir, 'stick.tar'))
  bytes[2000] = bytes.readUInt8(2000) ^ 1
  await writeFile(join(dir, 'stick.tar'), bytes)
  assert.equal((await knox(['restore', 'stick.tar', '--to', join(dir, 'new')])).code, 14)
  assert.equal((await knox(['restore', 'nothing.tar', '--to', join(dir, 'new')])).code, 3)
  assert.ok(!(await readdir(dir)).includes('new'))
})

test('a file that the openssl here cannot open is no backup: it is removed', async (t) => {
  const { dir, knox } = await makeHome(t)
  await mkdir(join(dir, 'bin'))
  await writeProgram(join(dir, 'bin'), 'openssl', 'exec cat')
  const { code, stderr } = await knox(['backup', 'stick.tar'], {
    PATH: `${dir}/bin:${process.env['PATH'] ?? ''}`,
  })
  assert.deepEqual([code, /does not open as it should/.test(stderr)], [14, true], stderr)
  assert.ok(!(await readdir(dir)).some((name) => name.startsWith('stick')))
})

test('an older copy stays as it was if the new one does not open, even with --force', async (t) => {
  const { dir, knox } = await makeHome(t)
  assert.equal((await knox(['backup', 'stick.tar'])).code, 0)
  const older = await readFile(join(dir, 'stick.tar'))
  await mkdir(join(dir, 'bin'))
  await writeProgram(join(dir, 'bin'), 'openssl', 'exec cat')
  const env = { PATH: `${dir}/bin:${process.env['PATH'] ?? ''}` }
  assert.equal((await knox(['backup', 'stick.tar', '--force'], env)).code, 14)
  assert.ok((await readFile(join(dir, 'stick.tar'))).equals(older))
  assert.ok(!(await readdir(dir)).includes('stick.tar.new'))
})

test('a folder that is not complete is not backed up', async (t) => {
  const { folder, knox } = await makeHome(t)
  const copy = `${folder}-copy`
  await cp(folder, copy, { recursive: true })
  await rm(join(folder, 'knox-ca'))
  assert.equal((await knox(['backup', 'stick.tar'])).code, 3)
  await rm(folder, { recursive: true })
  assert.equal((await knox(['backup', 'stick.tar'])).code, 3)
})
