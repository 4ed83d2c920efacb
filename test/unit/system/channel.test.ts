import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { openChannel, run, type Channel } from '../../../provision/system/process.ts'
import { tempFolder } from '../../support/expect.ts'

const SUPPORT = join(import.meta.dirname, '../../support')

const peer = (mode: string, argument = ''): Channel =>
  openChannel(['node', join(SUPPORT, 'peer.mjs'), mode, argument])

const linesOf = async (channel: Channel): Promise<readonly string[]> => {
  const lines: string[] = []
  for (let line = await channel.readLine(); line !== undefined; line = await channel.readLine())
    lines.push(line)
  return lines
}

const ignore = () => undefined

const within = async <T>(milliseconds: number, work: Promise<T>): Promise<T> => {
  const late = new AbortController()
  const timer = sleep(milliseconds, undefined, { signal: late.signal }).then(() => {
    throw new Error(`not done within ${milliseconds} ms`)
  })
  timer.catch(ignore)
  return Promise.race([work, timer]).finally(() => late.abort())
}

describe('the lines of a peer', () => {
  test('are split exactly, however its bytes come in chunks', async () => {
    const bytes = Buffer.from('knox 1 knox locked\n\nzwei Wörter\t𝒳\n \n\r\nlast\nhalf a li')
    const lines = bytes.toString().split('\n').slice(0, -1)
    const cuts = fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 30 })
    const property = fc.asyncProperty(cuts, async (at) => {
      const edges = [0, ...at.sort((a, b) => a - b), bytes.length]
      const chunks = edges.slice(1).map((edge, n) => bytes.subarray(edges[n], edge).toString('base64'))
      const channel = peer('chunks', JSON.stringify(chunks))
      assert.deepEqual(await linesOf(channel), lines)
      assert.equal((await channel.ended).exitCode, 0)
    })
    await fc.assert(property, { numRuns: 8, examples: [[Array.from(bytes.keys())], [[]]] })
  })

  test('a last line without its newline is none: it may be half of one', async () => {
    assert.deepEqual(await linesOf(openChannel(['printf', 'ok 1\nok 12'])), ['ok 1'])
  })

  test('readers that wait get them in their order, and at the end nothing', async () => {
    const channel = openChannel(['sh', '-c', 'sleep 0.2; echo a; echo b'])
    const [a, b, c, d] = [channel.readLine(), channel.readLine(), channel.readLine(), channel.readLine()]
    assert.deepEqual(await Promise.all([a, b, c, d]), ['a', 'b', undefined, undefined])
    assert.equal(await channel.readLine(), undefined)
  })

  test('a line without end kills the peer, instead of filling the memory', async () => {
    const channel = peer('long')
    const lines = await within(10_000, linesOf(channel))
    assert.equal(lines[0], 'first')
    assert.ok(lines.every((line) => line.length < 200_000))
    assert.ok((await channel.ended).signal !== null)
  })

  test('a peer that floods has to wait, and can still be killed', async () => {
    const channel = peer('flood')
    await sleep(800)
    const before = process.memoryUsage().rss
    await sleep(800)
    assert.ok(process.memoryUsage().rss - before < 30 * 1024 * 1024)
    for (let n = 0; n < 25_000; n += 1) assert.equal((await channel.readLine())?.length, 99)
    channel.kill()
    assert.ok((await within(8000, channel.ended)).signal !== null)
    while ((await channel.readLine()) !== undefined);
  })
})

describe('a peer', { concurrency: true }, () => {
  test('that cannot be started has no lines, and ends with 127', async () => {
    const channel = openChannel(['/nonesuch/ssh', 'box'])
    assert.equal(await channel.readLine(), undefined)
    await channel.writeLine('hello')
    channel.end()
    const { exitCode, stderr } = await channel.ended
    assert.equal(exitCode, 127)
    assert.match(stderr, /ENOENT/)
  })

  test('that has gone can be written to without an error', async () => {
    const channel = openChannel(['true'])
    await channel.ended
    await within(2000, channel.writeLine('hello'))
    channel.end()
    channel.end()
    channel.kill()
  })

  test('keeps the end of what it said on stderr, exit code and signal', async () => {
    const failed = await openChannel(['sh', '-c', 'echo no route >&2; exit 255']).ended
    assert.deepEqual([failed.exitCode, failed.signal, failed.stderr], [255, null, 'no route\n'])
    const loud = await openChannel(['node', '-e', "process.stderr.write('x'.repeat(300000) + 'why')"]).ended
    assert.ok(loud.stderr.endsWith('xwhy') && loud.stderr.length === 65_536)
    assert.equal((await openChannel(['sh', '-c', 'kill -KILL $$']).ended).signal, 'SIGKILL')
  })

  test('that ignores being asked to end is killed', async () => {
    const channel = openChannel(['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.2; done'])
    assert.equal(await channel.readLine(), 'ready')
    channel.kill()
    assert.equal((await within(8000, channel.ended)).signal, 'SIGKILL')
  })
})

describe('a feed', { concurrency: 3 }, () => {
  test('puts the bytes of its program between lines, in exact order, however many feeds follow each other', async (t) => {
    const file = join(await tempFolder(t), 'data')
    const channel = peer('exchange')
    for (const length of [0, 1, 5_000_000, 65_536, 3_000_001]) {
      const data = randomBytes(length)
      await writeFile(file, data)
      await channel.writeLine(`before ${length}`)
      assert.equal(await channel.readLine(), `before ${length}`)
      await channel.writeLine(String(length))
      const { exitCode, stderr } = await channel.feed(['cat', file], ignore).ended
      assert.deepEqual([exitCode, stderr], [0, ''])
      await channel.writeLine('after')
      assert.equal(await channel.readLine(), createHash('sha256').update(data).digest('hex'))
      assert.equal(await channel.readLine(), 'after')
    }
    channel.end()
    assert.equal(await channel.readLine(), 'end')
    assert.equal((await channel.ended).exitCode, 0)
  })

  test('tells its exit code, its signal and, as it goes, its stderr', async () => {
    const channel = openChannel(['cat'])
    let said = ''
    const script = 'echo 1 >&2; printf bytes; echo 2 >&2; exit 3'
    const failed = await channel.feed(['sh', '-c', script], (text) => (said += text)).ended
    assert.deepEqual([failed.exitCode, failed.stderr, said], [3, '1\n2\n', '1\n2\n'])
    const missing = await channel.feed(['/nonesuch/zfs', 'send'], ignore).ended
    assert.equal(missing.exitCode, 127)
    channel.end()
    await channel.ended
  })

  test('to a peer that has ended gets SIGPIPE at once', async () => {
    const channel = openChannel(['true'])
    await channel.ended
    const { exitCode, signal } = await within(3000, channel.feed(['yes'], ignore).ended)
    assert.deepEqual([exitCode, signal], [null, 'SIGPIPE'])
  })

  test('into a peer that dies half way is told so by the kernel, and the peer’s own end tells why', async () => {
    const channel = openChannel([
      'sh',
      '-c',
      'head -c 100000 >/dev/null; echo full; echo disk full >&2; exit 9',
    ])
    const feed = channel.feed(['yes'], ignore)
    assert.equal(await channel.readLine(), 'full')
    const fed = await within(3000, feed.ended)
    // a reset where the peer left bytes unread
    assert.ok(fed.signal === 'SIGPIPE' || /Broken pipe|Connection reset/.test(fed.stderr), fed.stderr)
    const { exitCode, stderr } = await channel.ended
    assert.deepEqual([exitCode, stderr], [9, 'disk full\n'])
  })

  test('a program that ignores SIGPIPE gets EPIPE, and says so', async () => {
    const channel = openChannel(['true'])
    const feed = channel.feed(['sh', '-c', "trap '' PIPE; exec cat /dev/zero"], ignore)
    const { exitCode, stderr } = await within(3000, feed.ended)
    assert.equal(exitCode, 1)
    assert.match(stderr, /Broken pipe/)
  })

  test('into a peer that does not read blocks nobody else: lines are read, lines are queued, both can be killed', async () => {
    const channel = openChannel(['sh', '-c', 'echo failed; sleep 8'])
    const feed = channel.feed(['yes'], ignore)
    assert.equal(await channel.readLine(), 'failed')
    await sleep(200)
    feed.kill()
    assert.equal((await within(3000, feed.ended)).signal, 'SIGTERM')
    // the pipe is full now; a write that blocked would stop this whole process
    const started = Date.now()
    const written = channel.writeLine('x'.repeat(100_000))
    assert.ok(Date.now() - started < 500)
    channel.kill()
    await within(5000, written)
    await within(5000, channel.ended)
  })

  test('of 512 MiB never passes through node: its memory stays under 150 MiB', async () => {
    const { stdout, stderr } = await run([
      'env',
      '-C',
      join(SUPPORT, '../..'),
      'node',
      '--import',
      'tsx',
      join(SUPPORT, 'feed-memory.ts'),
    ])
    const [, exitCode, line, mebibytes] = /^(\S+) (\S+) (\d+)\n$/.exec(stdout) ?? assert.fail(stderr)
    assert.deepEqual([exitCode, line], ['0', 'done'])
    assert.ok(Number(mebibytes) < 150, `${mebibytes ?? ''} MiB`)
  })
})
