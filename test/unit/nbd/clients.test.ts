import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { run, type Output } from '../../../provision/system/process.ts'
import { tempFolder } from '../../support/expect.ts'
import { connected } from './client.ts'
import { eventually, memory, start } from './devices.ts'

/** Other people's clients, Debian's packages libnbd-bin, qemu-utils and nbd-client. What they copy is compared by its hash. */

const PACKAGES = {
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'nbd-client': 'nbd-client',
} as const
type Program = keyof typeof PACKAGES

const missing = new Map<string, string>()
for (const [program, pack] of Object.entries(PACKAGES)) {
  const { exitCode } = await run([program, program === 'nbd-client' ? '-V' : '--version'], { timeout: 20 })
  if (exitCode !== 0) missing.set(program, `${program} is not installed (package ${pack})`)
}
const needs = (...programs: readonly Program[]) => ({
  skip: programs.map((program) => missing.get(program)).find((reason) => reason !== undefined) ?? false,
})

const READ = 0
const MIB = 2 ** 20
/** whole sectors of 512 bytes, no whole pages, and more than one request of 32 MiB */
const SIZE = 40 * MIB + 512
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const uri = (path: string, name = ''): string => `nbd+unix:///${name}?socket=${path}`
const call = (...argv: readonly string[]): Promise<Output> => run(argv, { timeout: 120 })
const good = async (...argv: readonly string[]): Promise<string> => {
  const { exitCode, stdout, stderr } = await call(...argv)
  assert.equal(exitCode, 0, `${argv.join(' ')}: ${stderr}`)
  return stdout
}
const bad = async (pattern: RegExp, ...argv: readonly string[]): Promise<void> => {
  const { exitCode, stdout, stderr } = await call(...argv)
  assert.ok(exitCode !== 0 && exitCode !== null, `${argv.join(' ')} ended with ${exitCode}`)
  assert.match(stdout + stderr, pattern)
}

const file = async (t: TestContext, name: string, bytes?: Buffer): Promise<string> => {
  const path = join(await tempFolder(t), name)
  if (bytes !== undefined) await writeFile(path, bytes)
  return path
}

/** What every client is to leave behind: nothing. */
const stillServes = async (path: string, bytes: Buffer): Promise<void> => {
  const { ask, client } = await connected(path)
  const { data } = await ask({ command: READ, offset: 4000, length: 5000 })
  assert.ok(data.equals(bytes.subarray(4000, 9000)))
  client.socket.destroy()
}

describe('libnbd’s clients', () => {
  test('nbdinfo is told what the device is', needs('nbdinfo'), async (t) => {
    const { path } = await start(t, memory(SIZE))
    const told = JSON.parse(await good('nbdinfo', '--json', '--list', uri(path))) as {
      protocol: string
      exports: Record<string, unknown>[]
    }
    assert.equal(told.protocol, 'newstyle-fixed')
    const [disk, ...more] = told.exports
    assert.deepEqual(more, [])
    const wanted = {
      'export-name': 'disk',
      'export-size': SIZE,
      is_read_only: true,
      can_multi_conn: true,
      can_flush: false,
      can_fua: false,
      can_trim: false,
      can_zero: false,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    }
    for (const [name, value] of Object.entries(wanted)) assert.deepEqual(disk?.[name], value, name)
    const writable = await start(t, memory(SIZE), { readOnly: false })
    for (const able of ['flush', 'fua', 'write']) await good('nbdinfo', '--can', able, uri(writable.path))
    await bad(/no such export|not available|unknown|No such file/i, 'nbdinfo', uri(path, 'other'))
  })

  for (const [how, words] of [
    ['as it likes', []],
    ['over eight connections, 64 requests each', ['--connections=8', '--requests=64']],
    ['by requests of 32 MiB', ['--request-size=33554432']],
    ['one after another', ['--synchronous']],
  ] as const)
    test(`nbdcopy copies it ${how}`, needs('nbdcopy'), async (t) => {
      // an odd size: the last byte has no sector
      const device = memory(SIZE + 1)
      const server = await start(t, device)
      const to = await file(t, 'copy')
      await good('nbdcopy', ...words, uri(server.path), to)
      assert.equal(sha256(await readFile(to)), sha256(device.bytes))
      await eventually(() => server.inFlight() === 0)
      await stillServes(server.path, device.bytes)
    })

  test(
    'nbdcopy fills a writable one, flushes it, and is refused by a read-only one',
    needs('nbdcopy'),
    async (t) => {
      const device = memory(SIZE)
      const before = sha256(device.bytes)
      const bytes = Buffer.from(device.bytes.map((byte) => byte ^ 0x55))
      bytes.fill(0, 5 * MIB, 9 * MIB)
      const from = await file(t, 'from', bytes)
      await bad(/read-only/, 'nbdcopy', from, uri((await start(t, device)).path))
      assert.equal(sha256(device.bytes), before)
      await good('nbdcopy', '--flush', from, uri((await start(t, device, { readOnly: false })).path))
      assert.equal(sha256(device.bytes), sha256(bytes))
      assert.ok(device.flushes() > 0)
    },
  )

  test(
    'nbdcopy fails where the device fails, and one that is killed leaves a server that serves',
    needs('nbdcopy'),
    async (t) => {
      const plain = memory(SIZE)
      const read: BlockDevice['read'] = async (offset, length) => {
        await sleep(10)
        if (offset <= 20 * MIB && offset + length > 20 * MIB) throw new Error('bad sector')
        return plain.read(offset, length)
      }
      const server = await start(t, { ...plain, read })
      await bad(/Input\/output error/, 'nbdcopy', uri(server.path), await file(t, 'copy'))
      const killed = await run(['nbdcopy', '--synchronous', uri(server.path), await file(t, 'copy')], {
        timeout: 0.3,
      })
      assert.equal(killed.signal, 'SIGKILL')
      await eventually(() => server.inFlight() === 0)
      await stillServes(server.path, plain.bytes)
    },
  )
})

describe('qemu’s clients', () => {
  test('qemu-nbd lists it', needs('qemu-nbd'), async (t) => {
    const { path } = await start(t, memory(SIZE))
    const said = await good('qemu-nbd', '--list', '-k', path)
    assert.match(said, /exports available: 1\n export: 'disk'\n/)
    assert.match(said, new RegExp(`size: +${SIZE}\n +flags: 0x103 \\( readonly multi \\)`))
    assert.match(said, /min block: 1\n +opt block: 4096\n +max block: 33554432\n/)
  })

  test('qemu-img tells, converts and compares it', needs('qemu-img'), async (t) => {
    const device = memory(SIZE)
    const { path } = await start(t, device)
    const info = JSON.parse(await good('qemu-img', 'info', '--output=json', uri(path))) as object
    assert.equal((info as Record<string, unknown>)['virtual-size'], SIZE)
    const to = await file(t, 'copy')
    await good('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri(path), to)
    assert.equal(sha256(await readFile(to)), sha256(device.bytes))
    const compare = ['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', uri(path)]
    assert.match(await good(...compare, to), /identical/)
    const other = Buffer.from(device.bytes)
    other[SIZE - 1] = 1 ^ (other[SIZE - 1] ?? 0)
    await bad(/mismatch at offset/, ...compare, await file(t, 'other', other))
    await stillServes(path, device.bytes)
  })

  test('qemu-img writes a writable one, and is refused by a read-only one', needs('qemu-img'), async (t) => {
    const device = memory(SIZE)
    const before = sha256(device.bytes)
    const bytes = Buffer.from(device.bytes.map((byte) => byte ^ 0xaa))
    bytes.fill(0, MIB, 4 * MIB)
    const convert = ['qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', await file(t, 'from', bytes)]
    await bad(/Permission denied/, ...convert, uri((await start(t, device)).path))
    assert.equal(sha256(device.bytes), before)
    await good(...convert, uri((await start(t, device, { readOnly: false })).path))
    assert.equal(sha256(device.bytes), sha256(bytes))
    assert.ok(device.flushes() > 0)
  })

  test(
    'qemu-io reads and writes at odd places, with FUA and flush, and 32 MiB at once',
    needs('qemu-io'),
    async (t) => {
      const device = memory(SIZE)
      const { path } = await start(t, device, { readOnly: false })
      const commands = [
        'write -P 0x41 4095 3000',
        'read -P 0x41 4095 3000',
        'write -f -P 0x42 1 1',
        'write -P 0x43 7M 32M',
        'read -P 0x43 7M 32M',
        'write -z 10000 70000',
        'read -P 0 10000 70000',
        'aio_read -P 0 10000 70000',
        'aio_write -P 0x44 39M 1M',
        'aio_flush',
        'read -P 0x44 39M 1M',
        'flush',
      ]
      const said = await good('qemu-io', '-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri(path))
      assert.doesNotMatch(said, /fail|error/i)
      const model = memory(SIZE).bytes
      model
        .fill(0x41, 4095, 7095)
        .fill(0x42, 1, 2)
        .fill(0x43, 7 * MIB, 39 * MIB)
      model.fill(0, 10_000, 80_000).fill(0x44, 39 * MIB, 40 * MIB)
      assert.equal(sha256(device.bytes), sha256(model))
      assert.ok(device.flushes() >= 2)
    },
  )

  test(
    'qemu-io is refused a read-only one unless it wants to read only; a bad sector is its error',
    needs('qemu-io'),
    async (t) => {
      const plain = memory(SIZE)
      const read: BlockDevice['read'] = (offset, length) =>
        offset === 4096 ? Promise.reject(new Error('bad sector')) : plain.read(offset, length)
      const { path } = await start(t, { ...plain, read })
      await bad(/Permission denied/, 'qemu-io', '-f', 'raw', '-c', 'write 0 512', uri(path))
      const io = ['qemu-io', '-r', '-f', 'raw', '-c']
      await bad(/Input\/output error/, ...io, 'read 4096 512', uri(path))
      await good(...io, 'read 8192 512', uri(path))
    },
  )
})

describe('nbd-client', () => {
  test(
    'lists it, and learns its size by GO and by EXPORT_NAME, before it asks the kernel',
    needs('nbd-client'),
    async (t) => {
      const device = memory(SIZE)
      const { path } = await start(t, device)
      assert.match(await good('nbd-client', '-unix', path, '-l'), /\ndisk\n/)
      for (const words of [[], ['-g'], ['-N', 'disk'], ['-N', 'disk', '-g']]) {
        // a device that is none: it gives up after the handshake, and no module of the kernel is asked for
        const { stdout } = await call('nbd-client', '-unix', path, '/dev/null', ...words)
        assert.match(stdout, /Negotiation: \.\.size = 40MB/, words.join(' '))
      }
      const { stdout } = await call('nbd-client', '-unix', path, '/dev/null', '-N', 'other')
      assert.doesNotMatch(stdout, /size =/)
      await stillServes(path, device.bytes)
    },
  )
})
