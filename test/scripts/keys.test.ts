import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, test, type TestContext } from 'node:test'

/** `knox keys` as it is typed: the real program, a knox.yaml and a key folder of its own. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const PASSPHRASE = 'correct horse battery staple'
const FILES = [
  'geli.key',
  ...['knox-ca', 'ssh_host_ed25519_key'].flatMap((name) => [name, `${name}.pub`]),
  ...['knox-fifo', 'knox-send', 'knox-shell'].flatMap((name) => [name, `${name}.pub`, `${name}-cert.pub`]),
].sort()

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Home {
  readonly dir: string
  readonly folder: string
  readonly knox: (...words: string[]) => Promise<Ran>
}

/** Runs `knox keys <words>` without a terminal. */
const run = (dir: string, words: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ran> =>
  new Promise((done, reject) => {
    const child = spawn(process.execPath, [KNOX, 'keys', ...words], {
      cwd: dir,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code) => done({ code, stdout, stderr }))
  })

const homeIn = async (dir: string): Promise<Home> => {
  const folder = join(dir, 'keys')
  await writeFile(
    join(dir, 'knox.yaml'),
    `box:\n  addresses: [192.0.2.1]\nhome:\n  pool: wd\n  folder: ${folder}\n`,
  )
  await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
  return { dir, folder, knox: (...words) => run(dir, words) }
}

const emptyHome = async (t: TestContext): Promise<Home> => {
  const dir = await mkdtemp(join(tmpdir(), 'knox-test-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return homeIn(dir)
}

/** Keys made once by `keys init`; each test gets a copy. */
const template = mkdtempSync(join(tmpdir(), 'knox-test-'))
before(async () => {
  const { knox } = await homeIn(template)
  assert.equal((await knox('init', '--passphrase-file', 'pass')).code, 0)
})
after(() => rm(template, { recursive: true, force: true }))

const homeWithKeys = async (t: TestContext): Promise<Home> => {
  const home = await emptyHome(t)
  await cp(join(template, 'keys'), home.folder, { recursive: true })
  await chmod(home.folder, 0o700)
  return home
}

const contentOf = async (folder: string): Promise<Record<string, string>> => {
  const files = (await readdir(folder)).filter((name) => FILES.includes(name))
  const content = files.map(
    async (name) => [name, (await readFile(join(folder, name))).toString('hex')] as const,
  )
  return Object.fromEntries(await Promise.all(content))
}

describe('knox keys init', () => {
  test('it makes every file, 0600 in 0700, and says where and with which fingerprints', async (t) => {
    const { folder, knox } = await emptyHome(t)
    const { code, stdout, stderr } = await knox('init', '--passphrase-file', 'pass')
    assert.equal(code, 0, stderr)
    assert.deepEqual((await readdir(folder)).sort(), FILES)
    assert.equal((await stat(folder)).mode & 0o777, 0o700)
    for (const file of FILES) assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600, file)
    assert.ok(stdout.includes(folder))
    assert.equal(stdout.match(/SHA256:/g)?.length, 2)
  })

  test('with --dry-run it names the files, asks for nothing and changes nothing', async (t) => {
    const { dir, knox } = await emptyHome(t)
    const { code, stdout } = await knox('init', '--dry-run')
    assert.equal(code, 0)
    for (const file of FILES) assert.ok(stdout.includes(`/keys/${file}\n`), file)
    assert.deepEqual((await readdir(dir)).sort(), ['knox.yaml', 'pass'])
  })

  test('the passphrase is in no output, no argument and no environment', async (t) => {
    const { dir, folder } = await emptyHome(t)
    const ps = spawnSync('/bin/sh', ['-c', 'command -v ps']).stdout.toString().trim()
    const log = join(dir, 'log')
    await mkdir(join(dir, 'bin'))
    const spy = `#!/bin/sh\n{ echo "$0 $*"; /usr/bin/env; } >> '${log}'\nexec ${ps} "$@"\n`
    await writeFile(join(dir, 'bin', 'ps'), spy, { mode: 0o755 })
    const env = { ...process.env, PATH: join(dir, 'bin'), KNOX_DEBUG: '1' }
    const flags = ['--passphrase-file', 'pass', '--verbose', '--json']
    for (const words of [['init'], ['sign'], ['renew'], ['list']]) {
      const { code, stdout, stderr } = await run(dir, [...words, ...(words[0] === 'list' ? [] : flags)], env)
      assert.equal(code, 0, stderr)
      assert.ok(!`${stdout}${stderr}`.includes(PASSPHRASE))
    }
    const seen = await readFile(log, 'utf8')
    assert.match(seen, /ps -o lstart=/)
    assert.ok(!seen.includes(PASSPHRASE))
    for (const file of await readdir(folder))
      assert.ok(!(await readFile(join(folder, file))).includes(PASSPHRASE), file)
  })

  test('where keys exist it refuses with exit 4 and touches nothing', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    for (const flags of [['--dry-run'], ['--passphrase-file', 'pass']]) {
      const { code, stderr } = await knox('init', ...flags)
      assert.equal(code, 4)
      assert.match(stderr, /there are keys in .*--force/s)
    }
    assert.deepEqual(await contentOf(folder), old)
    assert.deepEqual((await readdir(folder)).sort(), FILES)
  })

  test('with --force it keeps what stood there in a sub-folder, and says so', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    const { code, stderr } = await knox('init', '--force', '--passphrase-file', 'pass')
    assert.equal(code, 0, stderr)
    const aside = (await readdir(folder)).find((name) => name.startsWith('replaced-'))!
    assert.ok(stderr.includes(join(folder, aside)))
    assert.match(stderr, /old geli.key/)
    assert.deepEqual(await contentOf(join(folder, aside)), old)
    assert.notEqual((await contentOf(folder))['geli.key'], old['geli.key'])
  })

  test('a short passphrase ends with exit 2, none without a terminal with exit 4, and no folder is made', async (t) => {
    const { dir, knox } = await emptyHome(t)
    await writeFile(join(dir, 'pass'), 'short\n')
    assert.equal((await knox('init', '--passphrase-file', 'pass')).code, 2)
    assert.equal((await knox('init')).code, 4)
    assert.deepEqual((await readdir(dir)).sort(), ['knox.yaml', 'pass'])
  })
})

describe('knox keys list', () => {
  test('it prints a table for people', async (t) => {
    const { knox } = await homeWithKeys(t)
    const { code, stdout } = await knox('list')
    assert.equal(code, 0)
    assert.match(stdout, /^knox-ca +private, passphrase +SHA256:/m)
    assert.match(stdout, /serial 3, key ID knox-send, for root, valid always to forever/)
    assert.match(stdout, /runs \/root\/knox-zfs-receive\.sh session, from anywhere, no extensions/)
  })

  test('with --json it prints one value', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const { stdout } = await knox('list', '--json')
    const value = JSON.parse(stdout) as { folder: string; keys: { file: string }[] }
    assert.equal(value.folder, folder)
    assert.deepEqual(value.keys.map(({ file }) => file).sort(), ['./', ...FILES])
  })

  test('what is missing or too open is shown and ends with exit 3', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    await rm(join(folder, 'knox-fifo'))
    await chmod(join(folder, 'geli.key'), 0o644)
    const { code, stdout } = await knox('list')
    assert.equal(code, 3)
    assert.match(stdout, /^knox-fifo +private\n +! it is missing$/m)
    assert.match(stdout, /^geli.key +disk key\n +! others may read it$/m)
  })

  test('without keys it says how to make them, and ends with exit 3', async (t) => {
    const { knox } = await emptyHome(t)
    const { code, stderr } = await knox('list')
    assert.equal(code, 3)
    assert.match(stderr, /there are no keys .*keys init/s)
  })
})

describe('knox keys sign and renew', () => {
  test('sign makes a certificate of the terms asked for', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    const terms = ['--login', 'knox-send', '--validity', '30d', '--source-address', '10.0.0.0/8,::1']
    const { code, stdout } = await knox('sign', ...terms, '--json', '--passphrase-file', 'pass')
    assert.equal(code, 0)
    const { certificates } = JSON.parse(stdout) as { certificates: [{ validBefore: string }] }
    const end = Math.floor(Date.now() / 1000) + 30 * 86_400
    const [{ validBefore, ...certificate }] = certificates
    assert.deepEqual(certificate, {
      login: 'knox-send',
      file: 'knox-send-cert.pub',
      serial: '4',
      validAfter: '2015-01-01T00:00:00Z',
      sourceAddress: ['10.0.0.0/8', '::1'],
    })
    assert.ok(Math.abs(Date.parse(validBefore) / 1000 - end) < 60)
    const changed = Object.entries(await contentOf(folder)).filter(([name, content]) => content !== old[name])
    assert.deepEqual(
      changed.map(([name]) => name),
      ['knox-send-cert.pub'],
    )
  })

  test('renew makes new login keys and leaves CA, host key and disk key alone', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    const renewed = await knox('renew', '--passphrase-file', 'pass')
    assert.equal(renewed.code, 0)
    assert.match(
      renewed.stderr,
      /certificates before \(serials 1 to 3\) still open the box; docs\/keys\.md says how/,
    )
    const kept = Object.entries(await contentOf(folder)).filter(([name, content]) => content === old[name])
    const stays = ['geli.key', 'knox-ca', 'knox-ca.pub', 'ssh_host_ed25519_key', 'ssh_host_ed25519_key.pub']
    assert.deepEqual(kept.map(([name]) => name).sort(), stays)
    assert.equal((await knox('list')).code, 0)
  })

  test('--source-address any lifts what an earlier certificate had', async (t) => {
    const { knox } = await homeWithKeys(t)
    const flags = ['--login', 'knox-send', '--passphrase-file', 'pass']
    await knox('sign', ...flags, '--source-address', '10.0.0.0/8')
    assert.match((await knox('sign', '--dry-run', '--login', 'knox-send')).stdout, /from 10\.0\.0\.0\/8$/m)
    assert.match((await knox('sign', ...flags, '--source-address', 'any')).stdout, /from anywhere$/m)
  })

  test('with --dry-run they ask for nothing and change nothing', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    for (const word of ['sign', 'renew']) {
      const { code, stdout } = await knox(word, '--dry-run')
      assert.equal(code, 0)
      assert.match(stdout, /would make new .*serial 4.*serial 5.*serial 6/s)
    }
    assert.deepEqual(await contentOf(folder), old)
  })

  test('a wrong passphrase ends with exit 12 and changes nothing', async (t) => {
    const { dir, folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    await writeFile(join(dir, 'pass'), 'incorrect horse\n')
    for (const word of ['sign', 'renew']) {
      const { code, stderr } = await knox(word, '--passphrase-file', 'pass')
      assert.equal(code, 12)
      assert.ok(!stderr.includes('incorrect horse'))
    }
    assert.deepEqual(await contentOf(folder), old)
  })

  test('while another knox is at work they end with exit 11', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const start = spawnSync('ps', ['-o', 'lstart=', '-p', process.pid.toString()], { env: { LC_ALL: 'C' } })
    await writeFile(join(folder, 'lock'), `${process.pid} ${start.stdout.toString().trim()}\n`)
    assert.equal((await knox('sign', '--passphrase-file', 'pass')).code, 11)
  })
})

describe('knox keys with wrong words', () => {
  test('they end with exit 2 and change nothing', async (t) => {
    const { folder, knox } = await homeWithKeys(t)
    const old = await contentOf(folder)
    const cases = [
      [],
      ['make'],
      ['constructor'],
      ['list', 'more'],
      ['list', '--colour'],
      ['sign', '--login', 'root'],
      ['sign', '--validity', 'soon'],
      ['sign', '--source-address', '10.0.0.1/8'],
    ]
    for (const words of cases) {
      const { code, stderr } = await knox(...words, '--passphrase-file', 'pass')
      assert.equal(code, 2, words.join(' '))
      assert.match(stderr, /^knox: error: .*\nknox: hint: /)
    }
    assert.deepEqual(await contentOf(folder), old)
  })
})
