import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { withLock } from '../../../provision/system/lock.ts'
import { openChannel, run } from '../../../provision/system/process.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'

const ROOT = join(import.meta.dirname, '../../..')

const startOf = async (pid: number | string) =>
  (await run(['ps', '-o', 'lstart=', '-p', String(pid)])).stdout.trim()

const later = (start: string, seconds: number) =>
  new Date(Date.parse(start) + seconds * 1000)
    .toString()
    .replace(/^(\w+ \w+ \d+) (\d+) ([\d:]+).*$/, '$1 $3 $2')

describe('the lock of a box', () => {
  test('is there while the work goes on, names this process, and is gone afterwards', async (t) => {
    const dir = await tempFolder(t)
    const seen = await withLock(dir, () => readFile(join(dir, 'lock'), 'utf8'))
    assert.equal(seen, `${process.pid} ${await startOf(process.pid)}\n`)
    assert.deepEqual(await readdir(dir), [])
    await assert.rejects(
      withLock(dir, () => Promise.reject(new Error('why'))),
      /why/,
    )
    assert.deepEqual(await readdir(dir), [])
  })

  test('a second holder is busy, and does not touch the lock of the first', async (t) => {
    const dir = await tempFolder(t)
    await withLock(dir, async () => {
      const other = withLock(dir, () => Promise.resolve(assert.fail('both have it')))
      await assert.rejects(other, knoxError('busy', new RegExp(`process ${process.pid}`)))
      assert.deepEqual(await readdir(dir), ['lock'])
    })
  })

  test('one knox is seen by another whatever the time zone and language of each (S7: two crons)', async (t) => {
    const dir = await tempFolder(t)
    const sleeper = openChannel(['sh', '-c', 'echo $$; exec sleep 30'])
    const pid = (await sleeper.readLine()) ?? ''
    await writeFile(join(dir, 'lock'), `${pid} ${await startOf(pid)}\n`)
    withEnv(t, { TZ: 'Pacific/Kiritimati', LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8' })
    await assert.rejects(
      withLock(dir, () => Promise.resolve()),
      knoxError('busy'),
    )
    sleeper.kill()
    await sleeper.ended
    assert.equal(await withLock(dir, () => Promise.resolve('mine')), 'mine')
  })

  test('of a dead process is taken over; so is one whose pid is somebody else’s by now, and a broken one', async (t) => {
    const dir = await tempFolder(t)
    const dead = openChannel(['sh', '-c', 'echo $$'])
    const pid = (await dead.readLine()) ?? ''
    await dead.ended
    const mine = await startOf(process.pid)
    const stale = [
      `${pid} ${mine}\n`,
      `${process.pid} ${later(mine, -3600)}\n`,
      `${process.pid} ${later(mine, 3600)}\n`,
      `${process.pid} some day\n`,
      `${process.pid}\n`,
      '',
      'garbage',
      `${process.pid}; reboot\n`,
    ]
    for (const text of stale) {
      await writeFile(join(dir, 'lock'), text)
      assert.equal(await withLock(dir, () => Promise.resolve('mine')), 'mine', text)
      assert.deepEqual(await readdir(dir), [])
    }
  })

  test('of a dead process is taken over by one of many that want it at once', async (t) => {
    const dir = await tempFolder(t)
    for (let round = 0; round < 5; round += 1) {
      await writeFile(join(dir, 'lock'), '999999 some day\n')
      let [inside, most] = [0, 0]
      const work = async () => {
        inside += 1
        most = Math.max(most, inside)
        await new Promise((resolve) => setTimeout(resolve, 30))
        inside -= 1
      }
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => withLock(dir, work)))
      assert.equal(most, 1)
      assert.ok(results.some(({ status }) => status === 'fulfilled'))
      assert.deepEqual(await readdir(dir), [])
    }
  })

  test('is kept though the clock was set right by a second or two meanwhile', async (t) => {
    const dir = await tempFolder(t)
    const start = await startOf(process.pid)
    assert.equal(later(start, 0).replace(/\b0/g, ''), start.replace(/ +/g, ' ').replace(/\b0/g, ''))
    await writeFile(join(dir, 'lock'), `${process.pid} ${later(start, 2)}\n`)
    await assert.rejects(
      withLock(dir, () => Promise.resolve()),
      knoxError('busy'),
    )
  })

  test('without ps(1) nothing is done, since nobody would see the other', async (t) => {
    const dir = await tempFolder(t)
    withEnv(t, { PATH: dir })
    await assert.rejects(
      withLock(dir, () => Promise.resolve()),
      knoxError('platform', /ps/),
    )
    await writeProgram(dir, 'ps', 'exit 1')
    await assert.rejects(
      withLock(dir, () => Promise.resolve()),
      knoxError('platform', /ps/),
    )
  })

  test('a take-over that crashed half way does not stand in the way for ever', async (t) => {
    const dir = await tempFolder(t)
    await mkdir(join(dir, 'lock.turn'))
    await writeFile(join(dir, 'lock'), '1 some day\n')
    await assert.rejects(
      withLock(dir, () => Promise.resolve()),
      knoxError('busy'),
    )
    await utimes(join(dir, 'lock.turn'), 0, 0)
    assert.equal(await withLock(dir, () => Promise.resolve('mine')), 'mine')
    assert.deepEqual(await readdir(dir), [])
  })

  test('of several processes that want it, begin with a dead one’s lock and leave some, never two have it', async (t) => {
    const dir = await tempFolder(t)
    await writeFile(join(dir, 'lock'), '999999 some day\n')
    const start = String(Date.now() + 1500)
    const argv = [
      'env',
      '-C',
      ROOT,
      'node',
      '--import',
      'tsx',
      join(ROOT, 'test/support/locker.ts'),
      dir,
      '4',
      start,
    ]
    const ends = await Promise.all(Array.from({ length: 5 }, () => run(argv, { timeout: 40 })))
    assert.deepEqual(
      ends.map(({ exitCode, stderr }) => stderr + String(exitCode)),
      Array(5).fill('0'),
    )
    const log = (await readFile(join(dir, 'log'), 'utf8')).trim().split('\n')
    assert.equal(log.length, 40)
    for (let n = 0; n < log.length; n += 2)
      assert.deepEqual(
        log.slice(n, n + 2).map((line) => line.replace(/ .*/, '')),
        Array(2).fill(log[n]?.replace(/ .*/, '')),
        log.join(),
      )
  })
})
