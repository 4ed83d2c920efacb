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
  await writeFile(join(folder, 'unfinished-disk.json'), 'by then it may hold a backup')
  const made = await knox(['backup', 'stick.tar'])
  assert.equal(made.code, 0, made.stderr)
  assert.match(made.stdout, /unmount the stick before it is pulled out/)
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
  // once more: what is there is as it should be, and other files are not replaced
  const same = await knox(['restore', 'stick.tar'])
  assert.deepEqual([same.code, /was left alone/.test(same.stdout)], [0, true], same.stderr)
  await writeFile(join(folder, 'geli.key'), 'another key')
  await rm(join(folder, 'knox-ca'))
  const again = await knox(['restore', 'stick.tar'])
  assert.deepEqual([again.code, /geli\.key exists already/.test(again.stderr)], [4, true], again.stderr)
  assert.equal(await readFile(join(folder, 'geli.key'), 'utf8'), 'another key')
  assert.ok(!(await readdir(folder)).includes('knox-ca'))
})

test('a restore that was cut off goes on when it is said again', async (t) => {
  const { dir, folder, knox } = await makeHome(t)
  const before = await contents(folder)
  assert.equal((await knox(['backup', 'stick.tar'])).code, 0)
  const [aside = ''] = (await readdir(folder)).filter((name) => name.startsWith('replaced-'))
  // cut off between the sub-folder and the top, then before knox.yaml
  for (const name of await readdir(folder))
    if (name !== aside) await rm(join(folder, name), { recursive: true })
  const yaml = join(dir, 'later/knox.yaml')
  const words = ['restore', 'stick.tar', '--config', yaml]
  const cut = await knox(words)
  assert.deepEqual([cut.code, /bug in knox/.test(cut.stderr)], [3, false], cut.stderr)
  assert.match(cut.stderr, /later\/knox\.yaml cannot be written[^]*the keys are in/)
  assert.deepEqual(await contents(folder), before)
  await mkdir(join(dir, 'later'))
  const whole = await knox(words)
  assert.deepEqual([whole.code, whole.stdout.includes(`knox.yaml is ${yaml}`)], [0, true], whole.stderr)
  assert.equal(await readFile(yaml, 'utf8'), await readFile(join(dir, 'knox.yaml'), 'utf8'))
})

test('keys that are put elsewhere are found there: knox.yaml names the folder', async (t) => {
  const { dir, knox } = await makeHome(t)
  assert.equal((await knox(['backup', 'stick.tar'])).code, 0)
  const to = ['restore', 'stick.tar', '--to', 'new', '--config']
  const moved = await knox([...to, 'moved.yaml'])
  assert.equal(moved.code, 0, moved.stderr)
  assert.match(await readFile(join(dir, 'moved.yaml'), 'utf8'), /^# mine\n/)
  const listed = await knox(['list', '--config', 'moved.yaml'])
  assert.deepEqual([listed.code, listed.stdout.split('\n')[0]], [0, join(dir, 'new')], listed.stderr)
  // a knox.yaml that is there stays, and what it lacks is told
  const told = await knox([...to, 'knox.yaml'])
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stderr, new RegExp(`does not name that folder[^]*folder: ${dir}/new`))
  assert.match(await readFile(join(dir, 'knox.yaml'), 'utf8'), /folder: \S+\/keys\n/)
})

test('a file that is there stays unless --force is said, and none is put into the key folder itself', async (t) => {
  const { dir, folder, knox } = await makeHome(t)
  await writeFile(join(dir, 'stick.tar'), 'photographs')
  assert.equal((await knox(['backup', 'stick.tar'])).code, 4)
  assert.equal(await readFile(join(dir, 'stick.tar'), 'utf8'), 'photographs')
  assert.equal((await knox(['backup', 'stick.tar', '--force'])).code, 0)
  await rm(join(dir, 'stick.tar'))
  await writeFile(join(dir, 'stick.tar.txt'), 'notes')
  await writeFile(join(dir, 'stick.tar.new'), 'newer photographs')
  const refused = await knox(['backup', 'stick.tar'])
  assert.deepEqual([refused.code, /stick\.tar\.txt exists already/.test(refused.stderr)], [4, true])
  assert.equal(await readFile(join(dir, 'stick.tar.txt'), 'utf8'), 'notes')
  assert.equal((await knox(['backup', 'stick.tar', '--force'])).code, 0)
  assert.equal(await readFile(join(dir, 'stick.tar.new'), 'utf8'), 'newer photographs')
  assert.ok(!(await readdir(dir)).some((name) => name.endsWith('.tmp')))
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
  assert.ok(!(await readdir(dir)).some((name) => name.startsWith('stick') || name.endsWith('.tmp')))
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
  assert.ok(!(await readdir(dir)).some((name) => name.endsWith('.new') || name.endsWith('.tmp')))
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
