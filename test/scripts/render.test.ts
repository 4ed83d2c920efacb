import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

/** `knox render` as it is typed. */

const KNOX = new URL('../../scripts/knox.mjs', import.meta.url).pathname

const run = (file: string, args: readonly string[], cwd: string) =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const env = { ...process.env, HOME: cwd }
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })

/** A folder with a knox.yaml, and a key folder with keys made by ssh-keygen. */
const home = async (t: TestContext, { box = '', keys = true } = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const yaml = `box:\n  addresses: [192.168.1.13]\n${box}home:\n  pool: wd\n  folder: ${folder}/keys\n`
  await writeFile(join(folder, 'knox.yaml'), yaml)
  await mkdir(join(folder, 'keys'), { mode: 0o700 })
  for (const name of keys ? ['knox-ca', 'ssh_host_ed25519_key'] : []) {
    const words = ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'keys', name)]
    assert.equal((await run('ssh-keygen', words, folder)).code, 0)
  }
  const knox = (...args: string[]) => run(process.execPath, [KNOX, 'render', ...args], folder)
  return { folder, knox, out: join(folder, 'out') }
}

const filesIn = async (folder: string): Promise<readonly string[]> => {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length))
    .sort()
}

/** `0644 /etc/fstab` as what it says; the mode is undefined for a link. */
const listingOf = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [word = '', path = '', , linkTo] = line.split(' ')
      return { path, mode: word === 'link' ? undefined : Number.parseInt(word, 8), linkTo }
    })

const assertWritten = async (out: string, stdout: string): Promise<void> => {
  const listing = listingOf(stdout)
  assert.deepEqual(
    listing.map(({ path }) => path),
    await filesIn(out),
  )
  for (const { path, mode, linkTo } of listing) {
    const info = await lstat(join(out, path))
    if (linkTo === undefined) assert.equal(info.mode & 0o7777, mode, path)
    else assert.equal(await readlink(join(out, path)), linkTo)
  }
}

describe('knox render', () => {
  test('writes what it lists, with the keys of the folder in it', async (t) => {
    const { folder, knox, out } = await home(t)
    const { code, stdout, stderr } = await knox('--out', 'out')
    assert.deepEqual([code, stderr], [0, ''])
    await assertWritten(out, stdout)
    for (const path of ['/etc/fstab', '/etc/rc.conf', '/boot/loader.conf', '/root/knox-zfs-receive.sh'])
      assert.ok((await filesIn(out)).includes(path), path)
    const same = async (file: string, path: string) => {
      const [made, there] = await Promise.all([
        readFile(join(folder, 'keys', file)),
        readFile(join(out, path)),
      ])
      assert.deepEqual(there, made)
    }
    await same('ssh_host_ed25519_key', 'etc/ssh/ssh_host_ed25519_key')
    const authority = await readFile(join(out, 'etc/ssh/knox-ca'), 'utf8')
    const made = await readFile(join(folder, 'keys', 'knox-ca.pub'), 'utf8')
    assert.equal(authority.split(' ')[1], made.split(' ')[1])
    assert.equal(authority.includes('PRIVATE'), false)
    assert.equal((await lstat(join(out, 'etc/ssh/ssh_host_ed25519_key'))).mode & 0o777, 0o600)
  })

  test('shows no secret, whatever it is asked for', async (t) => {
    const { folder, knox } = await home(t)
    const key = await readFile(join(folder, 'keys', 'ssh_host_ed25519_key'), 'utf8')
    for (const words of [[], ['--json'], ['--verbose'], ['--dry-run', '--json', '--verbose']]) {
      const { code, stdout, stderr } = await knox('--out', `out${words.join('')}`, ...words)
      assert.equal(code, 0, stderr)
      for (const line of key.split('\n').slice(1, -2)) assert.ok(!`${stdout}${stderr}`.includes(line))
    }
  })

  test('the board and the release of knox.yaml are what is written', async (t) => {
    const box = '  board: laptop\n  release: releng/13.2\n  interface: bfe0\n  name: attic\n'
    const { knox, out } = await home(t, { box })
    assert.equal((await knox('--out', out)).code, 0)
    assert.match(await readFile(join(out, 'etc/rc.conf'), 'utf8'), /^ifconfig_bfe0="DHCP"$/m)
    assert.match(await readFile(join(out, 'etc/ttys'), 'utf8'), /^ttyv1/m)
    assert.match(
      await readFile(join(out, 'etc/ssh/sshd_config'), 'utf8'),
      /^KbdInteractiveAuthentication no$/m,
    )
    assert.match(await readFile(join(out, 'root/knox-zfs-receive.sh'), 'utf8'), /^name='attic'$/m)
  })

  test('a second time gives the very same bytes', async (t) => {
    const { folder, knox } = await home(t)
    for (const out of ['one', 'two']) assert.equal((await knox('--out', out)).code, 0)
    assert.deepEqual((await run('diff', ['-r', '--no-dereference', 'one', 'two'], folder)).stdout, '')
  })

  test('--dry-run lists the same files and writes nothing', async (t) => {
    const { folder, knox, out } = await home(t)
    const dry = await knox('--out', 'out', '--dry-run')
    assert.equal(dry.code, 0)
    assert.deepEqual([...(await readdir(folder))].sort(), ['keys', 'knox.yaml'])
    const wet = await knox('--out', 'out')
    assert.equal(wet.stdout, dry.stdout)
    await assertWritten(out, wet.stdout)
  })

  test('--json says it for programs', async (t) => {
    const { knox, out } = await home(t)
    const { stdout } = await knox('--out', 'out', '--json', '--dry-run')
    const result = JSON.parse(stdout) as { out: string; written: boolean; files: readonly object[] }
    assert.deepEqual([result.out, result.written], [out, false])
    const all = JSON.stringify(result.files)
    assert.ok(all.includes('{"path":"/etc/ssh/ssh_host_ed25519_key","mode":"0600"}'))
    assert.ok(all.includes('{"path":"/etc/resolv.conf","linkTo":"/var/run/resolv.conf"}'))
    assert.equal((JSON.parse((await knox('--out', 'out', '--json')).stdout) as typeof result).written, true)
  })

  test('a folder that holds something is refused with 4, dry or not; --force replaces what is knox’s', async (t) => {
    const { knox, out } = await home(t)
    assert.equal((await knox('--out', 'out')).code, 0)
    await writeFile(join(out, 'etc/mine'), 'x')
    await writeFile(join(out, 'etc/fstab'), 'broken')
    for (const words of [[], ['--dry-run']]) {
      const { code, stdout, stderr } = await knox('--out', 'out', ...words)
      assert.deepEqual([code, stdout], [4, ''])
      assert.match(stderr, /not empty[^]*hint: .*--force/)
    }
    assert.equal(await readFile(join(out, 'etc/fstab'), 'utf8'), 'broken')
    assert.equal((await knox('--out', 'out', '--force', '--dry-run')).code, 0)
    assert.equal(await readFile(join(out, 'etc/fstab'), 'utf8'), 'broken')
    assert.equal((await knox('--out', 'out', '--force')).code, 0)
    assert.match(await readFile(join(out, 'etc/fstab'), 'utf8'), /^\/dev\/mmcsd0s2a\t\/\tufs\tro\t/m)
    assert.equal(await readFile(join(out, 'etc/mine'), 'utf8'), 'x')
  })

  test('without keys it ends with 3 and names `knox keys init`; nothing is written', async (t) => {
    const { folder, knox } = await home(t, { keys: false })
    const { code, stdout, stderr } = await knox('--out', 'out')
    assert.deepEqual([code, stdout], [3, ''])
    assert.match(stderr, /^knox: error: the key folder lacks knox-ca\.pub/)
    assert.match(stderr, /^knox: hint: .*knox keys init/m)
    assert.deepEqual([...(await readdir(folder))].sort(), ['keys', 'knox.yaml'])
  })

  test('without --out it ends with 2; with a value in knox.yaml that is hostile, or too old a release, with 3', async (t) => {
    assert.equal((await (await home(t)).knox()).code, 2)
    for (const box of [`  pool: "wd'; reboot #"\n`, '  keymap: "uk\\n"\n', '  release: releng/9.3\n']) {
      const { knox, folder } = await home(t, { box })
      const { code, stderr } = await knox('--out', 'out')
      assert.equal(code, 3, stderr)
      assert.deepEqual([...(await readdir(folder))].sort(), ['keys', 'knox.yaml'])
    }
  })
})
