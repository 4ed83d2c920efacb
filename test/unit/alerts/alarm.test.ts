import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { watchedAs } from '../../../provision/cli/watch.ts'
import { defineCommand, type Knox } from '../../../provision/cli/command.ts'
import { KnoxError, type ExitName } from '../../../provision/core/errors.ts'
import { readLastRun, writeLastRun } from '../../../provision/runtime/last-run.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { show } from '../../support/terminal.ts'
import { healthcheck, type Answer, type Healthcheck } from './healthcheck.ts'
import { alertHome, lastRun, NOW, type AlertHome } from './home.ts'

interface Alarmed extends AlertHome {
  readonly hc: Healthcheck
  readonly mails: () => Promise<string>
  readonly hooks: () => Promise<string>
  readonly metrics: () => Promise<string>
  /** runs `knox backup`, as a verb that ends like this */
  readonly run: (work: (knox: Knox) => unknown, ...words: string[]) => ReturnType<typeof show>
  /** the same as `knox verify` */
  readonly check: (work: (knox: Knox) => unknown) => ReturnType<typeof show>
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

const verbOf = (name: string, watch: ReturnType<typeof watchedAs>, work: (knox: Knox) => unknown) =>
  defineCommand({
    name,
    summary: '',
    watch,
    run: async (knox) => (await work(knox)) as ExitName | undefined,
  })

/** A home whose every alert is set to something of this test's own. */
const alarmed = async (t: TestContext, more = '', answer?: Answer): Promise<Alarmed> => {
  const hc = await healthcheck(t, answer)
  const out = await tempFolder(t)
  await writeProgram(out, 'sendmail', `echo "$*" >>${out}/mails; cat >>${out}/mails`)
  const hook = await writeProgram(
    out,
    'hook',
    `echo "$KNOX_OUTCOME $KNOX_EXIT_CODE" >>${out}/hooks; cat >>${out}/hooks`,
  )
  const alerts = `alerts:\n  ping: ${hc.url}\n  command: ${hook}\n  mail: me@example.net\n  metrics: ${out}/knox.prom\n${more}`
  const home = await alertHome(t, alerts, `${out}:`)
  await home.zfs(['wd: a=1'])
  await home.proved((Date.parse('2026-11-23T12:00:00Z') - Date.now()) / 1000 + 7200, ['bk: a=1'])
  return {
    ...home,
    hc,
    mails: () => textOf(join(out, 'mails')),
    hooks: () => textOf(join(out, 'hooks')),
    metrics: () => textOf(join(out, 'knox.prom')),
    run: (work, ...words) => {
      const verb = verbOf('backup', watchedAs('backup'), work)
      return show([verb], 'backup', '--config', join(home.dir, 'knox.yaml'), ...words)
    },
    check: (work) => {
      const verb = verbOf('verify', watchedAs('verify', 'check'), work)
      return show([verb], 'verify', '--config', join(home.dir, 'knox.yaml'))
    },
  }
}

const unreachable = () => {
  throw new KnoxError('unreachable', 'the box does not answer', ['is it switched on?'])
}

const sent = (knox: Knox) => knox.result('sent', { bytes: 4096, problems: [] })

describe('the alarm', () => {
  test('a run that went well: start and success are told, no mail and no command; it is kept', async (t) => {
    const home = await alarmed(t)
    const { code, stdout, stderr } = await home.run(sent)
    assert.deepEqual([code, stdout, stderr], [0, 'sent\n', ''])
    assert.deepEqual(home.hc.heard, ['GET /ping/s3cret/start', 'GET /ping/s3cret'])
    assert.deepEqual([await home.mails(), await home.hooks()], ['', ''])
    assert.match(await home.metrics(), /^knox_last_run_exit_code\{box="knox"\} 0$/m)
    const last = await readLastRun(home.folder)
    assert.deepEqual(
      [last?.verb, last?.exit, last?.code, last?.message, last?.bytes],
      ['backup', 'ok', 0, '', 4096],
    )
    assert.equal(last?.succeeded, last?.ended)
  })

  test('a run that failed: everybody hears of it, in plain words, and its exit code stays', async (t) => {
    const home = await alarmed(t)
    await home.run(sent)
    const before = await readLastRun(home.folder)
    const { code, stderr } = await home.run(unreachable)
    assert.equal(code, 10)
    assert.equal(stderr, 'knox: error: the box does not answer\nknox: hint: is it switched on?\n')
    assert.deepEqual(home.hc.heard.slice(2), ['GET /ping/s3cret/start', 'GET /ping/s3cret/fail'])
    const mail = await home.mails()
    assert.match(mail, /^-i -t\nTo: me@example\.net\nSubject: knox on .*: backup with the box knox failed/)
    for (const words of [
      '\n  the box does not answer\n',
      '\n  hint: is it switched on?\n',
      'everything is 0 s old',
      '(unreachable)',
    ])
      assert.ok(mail.includes(words), mail)
    const [outcome, json = ''] = (await home.hooks()).split('\n')
    assert.equal(outcome, 'unreachable 10')
    const last = await readLastRun(home.folder)
    assert.deepEqual(JSON.parse(json), last)
    assert.deepEqual([last?.code, last?.hints, last?.bytes], [10, ['is it switched on?'], null])
    assert.equal(last?.succeeded, before?.ended)
    assert.match(await home.metrics(), /^knox_last_run_exit_code\{box="knox"\} 10$/m)
  })

  test('a run that left datasets behind says which', async (t) => {
    const home = await alarmed(t)
    const problems = [{ message: 'wd/x has gone another way', hint: 'knox preview shows it' }]
    const { code } = await home.run((knox) => {
      knox.result('sent', { bytes: 1, problems })
      return 'partial'
    })
    assert.equal(code, 5)
    const last = await readLastRun(home.folder)
    assert.equal(last?.message, 'some datasets arrived, others did not')
    assert.deepEqual(last.hints, ['wd/x has gone another way; knox preview shows it'])
    assert.match(await home.mails(), /wd\/x has gone another way/)
  })

  test('a bug is told as one', async (t) => {
    const home = await alarmed(t)
    assert.equal((await home.run(() => assert.fail('oh dear'))).code, 1)
    assert.match(await home.mails(), /oh dear\n {2}hint: this is a bug in knox/)
  })

  test('on: always calls the command after a good run too; a mail is for failures only', async (t) => {
    const home = await alarmed(t, '  on: always\n')
    await home.run(sent)
    assert.match(await home.hooks(), /^ok 0\n\{"version":1,/)
    assert.equal(await home.mails(), '')
  })

  test('a verify that ends badly is told, and proves or disproves no backup', async (t) => {
    const home = await alarmed(t)
    await home.run(sent)
    const heard = [...home.hc.heard]
    const before = [await readLastRun(home.folder), await home.metrics()]
    assert.equal((await home.check(sent)).code, 0)
    assert.deepEqual([await home.mails(), await home.hooks()], ['', ''])
    const { code } = await home.check(() => {
      throw new KnoxError('verification', '1 file is not the same on the box', ['knox status'])
    })
    assert.equal(code, 14)
    assert.match(await home.mails(), /knox verify with the box knox failed:\n\n {2}1 file is not the same/)
    assert.match(await home.hooks(), /^verification 14\n\{"version":1,"verb":"verify"/)
    assert.deepEqual([await readLastRun(home.folder), await home.metrics()], before)
    assert.deepEqual(home.hc.heard, heard)
  })

  test('without keys there is no folder to keep it in, and no warning about that', async (t) => {
    const home = await alarmed(t)
    await rm(home.folder, { recursive: true })
    const { code, stderr } = await home.run(unreachable)
    assert.deepEqual([code, stderr.includes('warning')], [10, false], stderr)
    assert.match(await home.mails(), /the box does not answer/)
  })

  test('a dry run tells nobody', async (t) => {
    const home = await alarmed(t)
    await home.run(sent, '--dry-run')
    assert.deepEqual(home.hc.heard, [])
    assert.deepEqual([await home.metrics(), await readLastRun(home.folder)], ['', undefined])
  })

  test('a knox.yaml that is wrong is told to all that can still be read in it', async (t) => {
    const home = await alarmed(t)
    const file = join(home.dir, 'knox.yaml')
    const text = (await readFile(file, 'utf8')).replace('pool: wd', 'poool: wd').replace('knox.prom', 'knox')
    await writeFile(file, text)
    const { code } = await home.run((knox) => knox.config())
    assert.equal(code, 3)
    assert.deepEqual(home.hc.heard, ['GET /ping/s3cret/start', 'GET /ping/s3cret/fail'])
    assert.match(await home.mails(), /home\.poool: is not a key knox knows/)
    assert.deepEqual([(await readLastRun(home.folder))?.code, await home.metrics()], [3, ''])
  })

  test('another run under way is quiet, until the last proof is too old', async (t) => {
    const home = await alarmed(t)
    const busy = () => {
      throw new KnoxError('busy', 'another knox is at work for this box')
    }
    await writeLastRun(home.folder, lastRun())
    const before = await readLastRun(home.folder)
    assert.equal((await home.run(busy)).code, 11)
    assert.deepEqual(home.hc.heard, ['GET /ping/s3cret/start'])
    assert.deepEqual([await home.mails(), await home.hooks(), await home.metrics()], ['', '', ''])
    assert.deepEqual(await readLastRun(home.folder), before)
    await rm(join(home.folder, 'receipt.json'))
    assert.equal((await home.run(busy)).code, 11)
    assert.match(await home.mails(), /another knox is at work[^]*Nothing was ever proved/)
    assert.equal(home.hc.heard.at(-1), 'GET /ping/s3cret/fail')
  })

  test('another run under way is told where the last proof lies in the future: its age says nothing', async (t) => {
    const home = await alarmed(t)
    const busy = () => {
      throw new KnoxError('busy', 'another knox is at work for this box')
    }
    const provedIn = (seconds: number) =>
      home.proved((NOW.getTime() - Date.now()) / 1000 - seconds, ['bk: a=1'])
    await provedIn(240)
    await home.run(busy)
    assert.equal(await home.mails(), '')
    await provedIn(360)
    assert.equal((await home.run(busy)).code, 11)
    assert.match(await home.mails(), /another knox is at work/)
  })

  test('a home whose pool hangs keeps nobody but the metrics from hearing of it', async (t) => {
    const home = await alarmed(t)
    const pids = join(home.dir, 'pids')
    await writeProgram(join(home.dir, 'bin'), 'zfs', `echo $$ >>${pids}; exec sleep 1000`)
    const letGo = async () => {
      for (const pid of (await textOf(pids)).split('\n').filter(Boolean)) process.kill(Number(pid))
    }
    const run = home.run(unreachable)
    const heard = async () =>
      [await home.mails(), await home.hooks()].every((text) => text.includes('does not answer')) &&
      home.hc.heard.at(-1) === 'GET /ping/s3cret/fail' &&
      (await textOf(pids)) !== ''
    try {
      for (let n = 0; n < 100 && !(await heard()); n += 1) await sleep(100)
      assert.ok(await heard(), `${await home.mails()}${home.hc.heard.join()}`)
      assert.equal(await home.metrics(), '')
    } finally {
      await letGo()
    }
    assert.equal((await run).code, 10)
    // of what the receipt says
    assert.match(await home.metrics(), /^knox_box_used_bytes\{box="knox"\} 1000$/m)
  })

  test('without a knox.yaml, or without alerts in it, a run ends as ever', async (t) => {
    const home = await alarmed(t)
    await writeFile(join(home.dir, 'knox.yaml'), home.yaml.slice(0, home.yaml.indexOf('alerts:')))
    assert.deepEqual(await home.run(sent), { code: 0, stdout: 'sent\n', stderr: '' })
    assert.equal((await readLastRun(home.folder))?.code, 0)
    await rm(join(home.dir, 'knox.yaml'))
    assert.deepEqual(await home.run(sent), { code: 0, stdout: 'sent\n', stderr: '' })
    assert.deepEqual(home.hc.heard, [])
  })
})

describe('an alarm that does not work', () => {
  const words = ['last-run.json', 'alerts.ping', 'alerts.command', 'alerts.mail', 'alerts.metrics']

  /** Nobody answers, the programs are not there, and nothing can be written. */
  const deaf = async (t: TestContext): Promise<Alarmed> => {
    const home = await alarmed(t, '', () => 404)
    const file = join(home.dir, 'knox.yaml')
    const nowhere = await writeProgram(home.dir, 'sendmail', 'exit 75')
    withEnv(t, { PATH: `${home.dir}:${process.env['PATH'] ?? ''}` })
    const text = (await readFile(file, 'utf8'))
      .replace(/command: .*/, `command: ${home.dir}/none`)
      .replace(/metrics: .*/, `metrics: ${nowhere}/knox.prom`)
    await writeFile(file, text)
    await mkdir(join(home.folder, 'last-run.json'))
    return home
  }

  test('is a warning each, and turns no failure into anything else', async (t) => {
    const home = await deaf(t)
    const { code, stderr } = await home.run(unreachable)
    assert.equal(code, 10)
    for (const word of words) assert.match(stderr, new RegExp(`knox: warning: .*${word}.* did not work`))
    assert.match(stderr, /^knox: error: the box does not answer$/m)
    assert.match(stderr, /alerts\.mail did not work: sendmail ended with 75/)
    assert.match(stderr, /alerts\.command did not work: it cannot be run/)
    assert.ok(!stderr.includes('s3cret'), stderr)
  })

  test('turns no success into a failure', async (t) => {
    const home = await deaf(t)
    const { code, stdout, stderr } = await home.run(sent)
    assert.deepEqual([code, stdout], [0, 'sent\n'])
    assert.match(stderr, /last-run\.json.* did not work/)
  })

  test('leaves no half of a file', async (t) => {
    const home = await deaf(t)
    await home.run(unreachable)
    assert.deepEqual(
      (await readdir(home.folder)).filter((name) => name.endsWith('.tmp')),
      [],
    )
    assert.ok((await stat(join(home.folder, 'last-run.json'))).isDirectory())
  })
})
