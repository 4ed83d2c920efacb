import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, tempFolder, writeProgram } from '../support/expect.ts'
import { HELLO } from '../support/fake-box.ts'
import { listed, remember, stubHome, type StubHome } from '../support/stub-home.ts'

/** `knox` as it is typed: real processes, with stand-ins for zfs and ssh on PATH. */

const ROOT = resolve(import.meta.dirname, '../..')
const KNOX = join(ROOT, 'scripts/knox.mjs')

interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

const ended = (child: ChildProcess): Promise<Ran> =>
  new Promise((done, reject) => {
    let [stdout, stderr] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code, signal) => done({ code, signal, stdout, stderr }))
  })

const start = (cwd: string, words: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  spawn(process.execPath, [KNOX, ...words], {
    cwd,
    env: { ...process.env, HOME: cwd, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  })

const knox = (cwd: string, words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> =>
  ended(start(cwd, words, env))

const inHome = (home: StubHome, ...words: string[]) => knox(home.dir, words, { PATH: home.path })

describe('knox without a knox.yaml', { concurrency: true }, () => {
  test('ends with 3, says where it looked and what to do, and prints no result', async (t) => {
    const dir = await tempFolder(t)
    const tries = ['backup', 'snapshot', 'preview', 'snapback', 'status'].map(async (verb) => {
      const { code, stdout, stderr } = await knox(dir, [verb])
      assert.deepEqual([code, stdout], [3, ''], verb)
      assert.match(
        stderr,
        /^knox: error: there is no knox\.yaml \(looked at .*\nknox: hint: cp knox\.example\.yaml knox\.yaml/,
      )
    })
    await Promise.all(tries)
  })

  test('as npm run backup ends with 3 and says the same', async (t) => {
    const env = { ...process.env, HOME: await tempFolder(t), npm_config_update_notifier: 'false' }
    const { code, stderr } = await ended(
      spawn('npm', ['run', '--silent', 'backup'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] }),
    )
    assert.equal(code, 3)
    assert.match(stderr, /knox: hint: cp knox\.example\.yaml knox\.yaml/)
  })

  test('with a verb it does not know ends with 2, and its help with 0', async (t) => {
    const dir = await tempFolder(t)
    assert.equal((await knox(dir, ['bakcup'])).code, 2)
    assert.equal((await knox(dir, ['backup', '--help'])).code, 0)
  })
})

describe('knox in a clone', () => {
  test('runs as npx knox, without the network', async (t) => {
    const cache = await tempFolder(t)
    const env = {
      ...process.env,
      npm_config_cache: cache,
      npm_config_offline: 'true',
      npm_config_update_notifier: 'false',
    }
    const { code, stdout, stderr } = await ended(
      spawn('npx', ['knox', '--help'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] }),
    )
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^knox: an encrypted copy/)
    assert.match(stdout, /^ +130 {2}/m)
  })
})

/** A home whose box has the first of two snapshots. */
const behind = async (t: TestContext): Promise<StubHome> => {
  const home = await stubHome(t)
  await home.zfs('wd: a=1 b=2')
  await remember(home, 'bk: a=1')
  return home
}

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
const GOOD = [
  HELLO,
  ...UNLOCK,
  ...listed('bk: a=1'),
  ...SENT,
  ...listed('bk: a=1 b=2'),
  'hear bye',
  'say locked',
]

describe('knox backup', { concurrency: true }, () => {
  test('ends with 0; the result is on stdout, what it does on stderr', async (t) => {
    const home = await behind(t)
    await home.box(GOOD)
    const { code, stdout, stderr } = await inHome(home, 'backup')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^1 streams, 0\.98 KiB in .*; 1 datasets proved at .*, disk locked\n$/)
    assert.match(stderr, /the disk is unlocked\n[^]*its disk is locked\n$/)
  })

  test('goes on though nobody reads what it prints: a closed terminal, a full log', async (t) => {
    const home = await behind(t)
    await home.box([HELLO, 'sleep 1', ...GOOD.slice(1)])
    const child = start(home.dir, ['backup'], { PATH: home.path })
    child.stdout.destroy()
    child.stderr.destroy()
    assert.deepEqual(await ended(child), { code: 0, signal: null, stdout: '', stderr: '' })
    assert.match(await readFile(join(home.folder, 'receipt.json'), 'utf8'), /"b"/)
  })

  test('ends with 5 if only some datasets arrived, with 13 if none could', async (t) => {
    const home = await behind(t)
    await home.zfs('wd: a=1 b=2', 'wd/x: c=3')
    const apart = ['bk/x: d=4'] as const
    await home.box([
      HELLO,
      ...UNLOCK,
      ...listed('bk: a=1', ...apart),
      ...SENT,
      ...listed('bk: a=1 b=2', ...apart),
      'hear bye',
      'say locked',
    ])
    const some = await inHome(home, 'backup')
    assert.equal(some.code, 5, some.stderr)
    assert.match(some.stderr, /knox: warning: wd\/x and bk\/x on the box have no common snapshot/)
    await home.zfs('wd: e=5')
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1 b=2'), 'hear bye', 'say locked'])
    assert.equal((await inHome(home, 'backup')).code, 13)
  })

  test('with the PATH of cron, where zfs is not, ends with 15 and not with 0 (facts 11.14)', async (t) => {
    const home = await behind(t)
    await rm(join(home.dir, 'bin', 'zfs'))
    for (const name of ['ps', 'sh']) {
      const path = spawnSync('/bin/sh', ['-c', `command -v ${name}`])
        .stdout.toString()
        .trim()
      await writeProgram(join(home.dir, 'bin'), name, `exec ${path} "$@"`)
    }
    const { code, stderr } = await knox(home.dir, ['backup'], { PATH: join(home.dir, 'bin') })
    assert.equal(code, 15)
    assert.match(stderr, /zfs is not installed here/)
  })

  test('with --dry-run shows the plan and calls nobody; with --json as one value', async (t) => {
    const home = await behind(t)
    const text = await inHome(home, 'backup', '--dry-run')
    assert.deepEqual([text.code, text.stdout], [0, 'wd: @a to @b, 0.98 KiB\n1 streams, 0.98 KiB in all\n'])
    const json = await inHome(home, 'backup', '--dry-run', '--json')
    assert.equal((JSON.parse(json.stdout) as { streams: unknown[] }).streams.length, 1)
    assert.ok(!(await home.calls()).some((call) => call.startsWith('ssh')))
  })
})

describe('knox on a machine without zfs', () => {
  test('ends with 15 and names what is missing', async (t) => {
    const home = await behind(t)
    const bin = join(home.dir, 'only-ps')
    await mkdir(bin)
    await symlink((await ended(spawn('sh', ['-c', 'command -v ps']))).stdout.trim(), join(bin, 'ps'))
    const { code, stdout, stderr } = await knox(home.dir, ['backup'], { PATH: bin })
    assert.deepEqual([code, stdout], [15, ''], stderr)
    assert.match(stderr, /^knox: error: zfs is not installed here/)
  })
})

describe('knox snapback', () => {
  test('takes a snapshot, then backs up; without the snapshot it does not', async (t) => {
    const home = await behind(t)
    await home.box(GOOD)
    assert.equal((await inHome(home, 'snapback')).code, 0)
    const calls = await home.calls()
    assert.match(calls[0] ?? '', /^zfs snapshot -r wd@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.ok(calls.some((call) => call.startsWith('ssh')))

    const full = await behind(t)
    await writeProgram(
      join(full.dir, 'bin'),
      'zfs',
      'echo "cannot create snapshot: out of space" >&2; exit 1',
    )
    const { code, stderr } = await inHome(full, 'snapback')
    assert.equal(code, 1)
    assert.match(stderr, /no room for a snapshot/)
    assert.deepEqual(await full.calls(), [])
  })
})

describe('knox that is told to stop', { concurrency: true }, () => {
  /** ssh and zfs write their pids down; ssh says `script` and hears nothing more. */
  const stoppable = async (t: TestContext, script: readonly string[]) => {
    const home = await behind(t)
    await home.box(script)
    const ssh = await readFile(join(home.dir, 'bin', 'ssh'), 'utf8')
    await writeProgram(join(home.dir, 'bin'), 'ssh', `echo $$ >>'${home.dir}/pids'\n${ssh}`)
    await home.file('send', `echo $$ >>'${home.dir}/pids'\ntrap '' TERM INT HUP\nexec cat /dev/zero\n`)
    const child = start(home.dir, ['backup'], { PATH: home.path })
    const ran = ended(child)
    const pids = async () =>
      (await readFile(join(home.dir, 'pids'), 'utf8').catch(() => '')).trim().split('\n').map(Number)
    return { home, child, ran, pids }
  }

  const until = async (what: () => Promise<boolean>) => {
    for (let n = 0; n < 600 && !(await what()); n += 1) await sleep(50)
    assert.ok(await what())
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    test(`by ${signal} while it waits for the box: exit 130, no child, no lock left`, async (t) => {
      const { home, child, ran, pids } = await stoppable(t, ['silence'])
      await until(async () => (await home.calls()).some((call) => call.startsWith('ssh')))
      child.kill(signal)
      const { code, stdout, stderr } = await ran
      assert.deepEqual([code, stdout], [130, ''], stderr)
      assert.match(stderr, /knox: error: stopped\nknox: hint: the box locks its disk/)
      for (const pid of await pids()) assert.ok(!isAlive(pid))
      assert.ok(!(await readdir(home.folder)).includes('lock'))
    })

  test('in the middle of a stream: the sender is ended too, though it does not want to', async (t) => {
    const script = [HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT.slice(0, 2), 'deaf']
    const { home, child, ran, pids } = await stoppable(t, script)
    await until(async () => (await pids()).length === 3)
    const started = Date.now()
    child.kill('SIGINT')
    const { code, stderr } = await ran
    assert.equal(code, 130, stderr)
    assert.ok(Date.now() - started < 8000)
    for (const pid of await pids()) assert.ok(!isAlive(pid))
    assert.match(await readFile(join(home.folder, 'receipt.json'), 'utf8'), /"a"/)
  })

  test('while it waits to make a broken connection anew: at once, and no lock is left', async (t) => {
    const { home, child, ran } = await stoppable(t, [HELLO, 'exit 1'])
    const config = join(home.dir, 'knox.yaml')
    await writeFile(config, (await readFile(config, 'utf8')).replace('retries: 0', 'retries: 5'))
    let said = ''
    child.stderr.on('data', (text) => (said += String(text)))
    await until(() => Promise.resolve(said.includes('trying again in')))
    const started = Date.now()
    child.kill('SIGINT')
    assert.equal((await ran).code, 130)
    assert.ok(Date.now() - started < 8000)
    assert.ok(!(await readdir(home.folder)).includes('lock'))
  })

  test('twice: at once', async (t) => {
    const { home, child, ran } = await stoppable(t, ['deaf'])
    await until(async () => (await home.calls()).some((call) => call.startsWith('ssh')))
    child.kill('SIGINT')
    await sleep(300)
    const started = Date.now()
    child.kill('SIGINT')
    // null: it was on its way out already, where a signal is deadly
    assert.ok([130, null].includes((await ran).code))
    assert.ok(Date.now() - started < 1500)
  })

  const noScript = spawnSync('script', ['--version']).error === undefined ? false : 'no script(1) here'
  test('by Ctrl-C at a terminal, while a spinner turns', { skip: noScript }, async (t) => {
    const home = await behind(t)
    await home.box(['silence'])
    await writeFile(
      join(home.dir, 'run'),
      `stty cols 100 rows 40\nexec '${process.execPath}' '${KNOX}' backup\n`,
    )
    const child = spawn('script', ['-qec', `sh '${home.dir}/run'`, '/dev/null'], {
      cwd: home.dir,
      env: { ...process.env, HOME: home.dir, PATH: home.path, TERM: 'xterm' },
      timeout: 30_000,
    })
    const ran = ended(child)
    await until(async () => (await home.calls()).some((call) => call.startsWith('ssh')))
    await sleep(300)
    child.stdin.write('\u0003')
    const { code, stdout } = await ran
    assert.equal(code, 130, stdout)
    assert.match(stdout, /calling the box knox[^]*knox: error: stopped/)
    assert.ok(!(await readdir(home.folder)).includes('lock'))
  })
})
