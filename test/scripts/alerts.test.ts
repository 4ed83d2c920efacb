import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tempFolder, writeProgram } from '../support/expect.ts'
import { HELLO } from '../support/fake-box.ts'
import { remember, stubHome, type StubHome } from '../support/stub-home.ts'

/** Alarms of real processes, as cron starts them: without a terminal. */

const ROOT = resolve(import.meta.dirname, '../..')
const KNOX = join(ROOT, 'scripts/knox.mjs')

const ended = async (child: ChildProcess) => {
  let [stdout, stderr] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

const start = (home: StubHome, ...words: string[]) =>
  spawn(process.execPath, [KNOX, ...words], {
    cwd: home.dir,
    env: { ...process.env, HOME: home.dir, PATH: home.path },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  })

/** A home with every alert, a sendmail of its own and a healthcheck on loopback. */
const watched = async (t: TestContext) => {
  const heard: string[] = []
  const server = createServer((request, response) => {
    heard.push(request.url ?? '')
    response.end('OK')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const home = await stubHome(t)
  await home.zfs('wd: a=1 b=2')
  await remember(home, 'bk: a=1')
  await writeProgram(join(home.dir, 'bin'), 'sendmail', `cat >>'${home.dir}/mails'`)
  const { port } = server.address() as AddressInfo
  const alerts = `alerts:\n  ping: http://127.0.0.1:${port}/x\n  mail: me\n  metrics: ${home.dir}/knox.prom\n`
  await appendFile(join(home.dir, 'knox.yaml'), alerts)
  const text = (name: string) => readFile(join(home.dir, name), 'utf8').catch(() => '')
  return { home, heard, text }
}

const lastRun = async (home: StubHome): Promise<{ code: number; verb: string }> =>
  JSON.parse(await readFile(join(home.folder, 'last-run.json'), 'utf8')) as { code: number; verb: string }

describe('alarms of real runs', { concurrency: true }, () => {
  test('a box that does not answer: told to all, at once, with the exit code unchanged', async (t) => {
    const { home, heard, text } = await watched(t)
    await home.box(['err ssh: connect to host: Connection refused', 'exit 255'])
    const { code, stderr } = await ended(start(home, 'backup'))
    assert.equal(code, 10, stderr)
    assert.deepEqual(heard, ['/x/start', '/x/fail'])
    assert.match(await text('mails'), /^To: me\nSubject: knox on .* failed \(exit 10\)\n/)
    assert.match(await text('knox.prom'), /^knox_last_run_exit_code\{box="knox"\} 10$/m)
    assert.equal((await lastRun(home)).code, 10)
    assert.match(
      (await ended(start(home, 'status'))).stdout,
      /^the last backup FAILED at .* \(exit 10\): the box does not answer$/m,
    )
  })

  test('a snapback that is killed from outside is a failure, and is told before it ends', async (t) => {
    const { home, heard, text } = await watched(t)
    await writeProgram(join(home.dir, 'bin'), 'zfs', `case "$1" in list) cat '${home.dir}/inventory' ;; esac`)
    await home.box([HELLO, 'silence'])
    const child = start(home, 'snapback')
    const over = ended(child)
    for (let n = 0; n < 300 && !(await home.calls()).some((call) => call.startsWith('ssh')); n += 1)
      await sleep(50)
    child.kill('SIGTERM')
    const { code, stderr } = await over
    assert.equal(code, 130, stderr)
    assert.deepEqual(heard, ['/x/start', '/x/fail'])
    assert.match(await text('mails'), /snapback with the box knox failed/)
    const { code: kept, verb } = await lastRun(home)
    assert.deepEqual([kept, verb], [130, 'snapback'])
  })

  test('a prune that fails each Sunday is told, and keeps how the last backup ended', async (t) => {
    const { home, heard, text } = await watched(t)
    const { code, stderr } = await ended(start(home, 'prune', '--yes'))
    assert.equal(code, 3, stderr)
    assert.deepEqual(heard, [])
    assert.match(await text('mails'), /^Subject: knox on .*: prune with the box knox failed \(exit 3\)$/m)
    await assert.rejects(lastRun(home), /ENOENT/)
  })

  test('two at once: the second is busy, and says nothing for the first', async (t) => {
    const { home, heard, text } = await watched(t)
    await home.box([HELLO, 'silence'])
    const first = start(home, 'backup')
    const over = ended(first)
    for (let n = 0; n < 300 && !(await home.calls()).some((call) => call.startsWith('ssh')); n += 1)
      await sleep(50)
    assert.equal((await ended(start(home, 'backup'))).code, 11)
    assert.deepEqual(heard, ['/x/start', '/x/start'])
    assert.equal(await text('mails'), '')
    first.kill('SIGTERM')
    await over
    assert.equal((await lastRun(home)).code, 130)
  })

  test('a last-run.json that cannot be written hides no failure', async (t) => {
    const { home, text } = await watched(t)
    await mkdir(join(home.folder, 'last-run.json'))
    await home.box(['err ssh: connect to host: Connection refused', 'exit 255'])
    const { code, stderr } = await ended(start(home, 'backup'))
    assert.equal(code, 10)
    assert.match(stderr, /knox: warning: keeping how this run ended \(last-run\.json\) did not work: EISDIR/)
    assert.match(await text('mails'), /the box does not answer/)
  })
})

describe('in a clone without keys', () => {
  test('npx knox check is UNKNOWN with a sentence, knox doctor says what to do', async (t) => {
    const home = await tempFolder(t)
    const npm = { npm_config_offline: 'true', npm_config_update_notifier: 'false', npm_config_cache: home }
    const env = { ...process.env, HOME: home, ...npm }
    const npx = (verb: string) =>
      ended(spawn('npx', ['knox', verb], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] }))
    const check = await npx('check')
    assert.equal(check.code, 3, check.stderr)
    assert.match(check.stdout, /^KNOX UNKNOWN - there is no knox\.yaml \(looked at [^\n]*\n$/)
    const doctor = await npx('doctor')
    assert.ok([3, 15].includes(doctor.code ?? 0), doctor.stderr)
    assert.match(doctor.stdout, /^broken +knox\.yaml +there is no knox\.yaml .*->.*cp knox\.example\.yaml/m)
    await writeFile(join(home, 'knox.yaml'), `box:\n  addresses: []\nhome:\n  pool: wd\n`)
    const bare = await ended(
      spawn(process.execPath, [KNOX, 'check'], { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] }),
    )
    assert.deepEqual([bare.code, /^KNOX UNKNOWN - there are no keys in /.test(bare.stdout)], [3, true])
  })
})
