import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { runHook } from '../../../provision/alerts/hook.ts'
import { sendMail } from '../../../provision/alerts/mail.ts'
import { sendPing } from '../../../provision/alerts/ping.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { healthcheck } from './healthcheck.ts'
import { lastRun } from './home.ts'

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
