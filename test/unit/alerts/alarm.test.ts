import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { sendPing } from '../../../provision/alerts/ping.ts'
import { runHook } from '../../../provision/alerts/hook.ts'
import { sendMail } from '../../../provision/alerts/mail.ts'
import { watchedAs } from '../../../provision/cli/watch.ts'
import { defineCommand, type Knox } from '../../../provision/cli/command.ts'
import { KnoxError, type ExitName } from '../../../provision/core/errors.ts'
import { readLastRun, writeLastRun } from '../../../provision/runtime/last-run.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { show } from '../../support/terminal.ts'
import { alertHome, lastRun, type AlertHome } from './home.ts'

interface Healthcheck {
  readonly url: string
  readonly heard: string[]
}

type Answer = (path: string, n: number) => number | 'silence' | { readonly location: string }

/** A healthcheck server on loopback, and what it heard. */
const healthcheck = async (t: TestContext, answer: Answer = () => 200): Promise<Healthcheck> => {
  const heard: string[] = []
  const server = createServer((request, response) => {
    heard.push(`${request.method ?? ''} ${request.url ?? ''}`)
    const what = answer(request.url ?? '', heard.length)
    if (what === 'silence') return
    if (typeof what === 'number') response.writeHead(what).end('OK')
    else response.writeHead(302, { location: what.location }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ping/s3cret`, heard }
}

interface Alarmed extends AlertHome {
  readonly hc: Healthcheck
  readonly mails: () => Promise<string>
  readonly hooks: () => Promise<string>
  readonly metrics: () => Promise<string>
  /** runs `knox backup`, as a verb that ends like this */
  readonly run: (work: (knox: Knox) => unknown, ...words: string[]) => ReturnType<typeof show>
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

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
      const verb = defineCommand({
        name: 'backup',
        summary: '',
        watch: watchedAs('backup'),
        run: async (knox) => (await work(knox)) as ExitName | undefined,
      })
      return show([verb], 'backup', '--config', join(home.dir, 'knox.yaml'), ...words)
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
    assert.match(mail, /^-i -t\nTo: me@example\.net\nSubject: knox on .*: backup to the box knox failed/)
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

describe('a ping', () => {
  const end = (url: string) => url.slice(url.indexOf('/', 8))

  test('keeps what stands behind a ?, and no slash too many', async (t) => {
    const { url, heard } = await healthcheck(t)
    assert.equal(await sendPing(`${url}/?rid=1`, 'fail'), undefined)
    assert.equal(await sendPing(`${url}/?rid=1`, 'success'), undefined)
    assert.deepEqual(heard, [`GET ${end(url)}/fail?rid=1`, `GET ${end(url)}/?rid=1`])
  })

  test('is sent again to a server that fails, not to one that does not know it', async (t) => {
    const tired = await healthcheck(t, (_, n) => (n < 3 ? 503 : 200))
    assert.equal(await sendPing(tired.url, 'success'), undefined)
    assert.equal(tired.heard.length, 3)
    const unknown = await healthcheck(t, () => 404)
    assert.equal(await sendPing(unknown.url, 'success'), 'it answers 404')
    assert.equal(unknown.heard.length, 1)
  })

  test('ends in time whether nobody answers, nobody is there, or it is led in a circle', async (t) => {
    const { url } = await healthcheck(t, () => 'silence')
    const started = Date.now()
    assert.equal(await sendPing(url, 'success', 300), 'no answer within the time')
    assert.match((await sendPing('http://127.0.0.1:1/x', 'success', 300)) ?? '', /ECONNREFUSED|time|port/)
    const circle = await healthcheck(t, () => ({ location: '/ping/s3cret' }))
    assert.ok((await sendPing(circle.url, 'success', 2000)) !== undefined)
    assert.ok(Date.now() - started < 5000)
  })

  test('follows a redirect to the web, and to nothing else', async (t) => {
    const { url, heard } = await healthcheck(t)
    const led = await healthcheck(t, () => ({ location: url }))
    assert.equal(await sendPing(led.url, 'success', 3000), undefined)
    assert.equal(heard.length, 1)
    for (const location of ['file:///etc/hostname', 'data:text/plain,OK', 'ftp://127.0.0.1/']) {
      const liar = await healthcheck(t, () => ({ location }))
      assert.ok((await sendPing(liar.url, 'success', 1500)) !== undefined, location)
    }
  })
})

describe('the programs', () => {
  test('the command is run without a shell: its path and what it hears are only text', async (t) => {
    const dir = await tempFolder(t)
    const hook = await writeProgram(dir, "it's $(touch x); hook", `cat >"${dir}/heard"; pwd >&2`)
    const last = lastRun({ message: '`touch y` $(touch z) "\n' })
    assert.equal(await runHook(hook, last), undefined)
    assert.deepEqual(JSON.parse(await readFile(join(dir, 'heard'), 'utf8')), last)
    assert.deepEqual((await readdir(dir)).sort(), ['heard', "it's $(touch x); hook"])
  })

  test('the command is killed after its time, and its exit code is told', async (t) => {
    const dir = await tempFolder(t)
    const started = Date.now()
    const slow = await writeProgram(dir, 'slow', 'sleep 20')
    assert.equal(await runHook(slow, lastRun(), 0.3), 'it did not end within 0.3 s')
    assert.ok(Date.now() - started < 5000)
    assert.equal(await runHook(await writeProgram(dir, 'bad', 'exit 3'), lastRun()), 'it ended with 3')
  })

  test('a command that does not read what it is told is none the worse', async (t) => {
    const dir = await tempFolder(t)
    const big = lastRun({ hints: Array.from({ length: 5000 }, () => 'x'.repeat(100)) })
    assert.equal(await runHook(await writeProgram(dir, 'deaf', 'exit 0'), big), undefined)
  })

  test('sendmail is killed after its time', async (t) => {
    const dir = await tempFolder(t)
    await writeProgram(dir, 'sendmail', 'sleep 20')
    withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
    assert.equal(await sendMail('To: x\n\n', 0.3), 'sendmail took longer than 0.3 s')
  })
})
