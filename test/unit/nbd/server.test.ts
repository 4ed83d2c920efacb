import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { listenPrivately } from '../../../provision/nbd/socket-file.ts'
import { knoxError, tempFolder } from '../../support/expect.ts'
import { connected, dial, go, request, takeSimple } from './client.ts'
import { eventually, memory, start } from './devices.ts'

const READ = 0
const MIB = 2 ** 20

/** A socket as a server leaves it that was killed. */
const deadSocket = async (path: string): Promise<void> => {
  const other = createServer().listen(path)
  await once(other, 'listening')
  // closing removes the file of that name
  await rename(path, `${path}.kept`)
  await new Promise((resolve) => other.close(resolve))
  await rename(`${path}.kept`, path)
}

/** A server that lives but takes nobody in: its queue is full. */
const busyServer = async (t: TestContext, path: string): Promise<void> => {
  const words = `require('net').createServer().listen({ path: process.argv[1], backlog: 1 }, () => {
    require('fs').writeSync(1, 'up'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0) })`
  const child = spawn(process.execPath, ['-e', words, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  for (let n = 0; n < 4; n += 1) {
    const socket = connect(path).on('error', () => undefined)
    t.after(() => socket.destroy())
  }
}

describe('the socket of a server', () => {
  test('is its owner’s alone from its first instant, whatever the umask', async (t) => {
    const path = join(await tempFolder(t), 'nbd.sock')
    const before = process.umask(0)
    t.after(() => process.umask(before))
    const server = createServer()
    const listening = listenPrivately(server, path)
    // nothing else of this process has run since: this is what another process could have seen
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(process.umask(0), 0)
    await listening
    await new Promise((resolve) => server.close(resolve))
  })

  test('is there while it serves and gone afterwards', async (t) => {
    const server = await start(t, memory(512))
    assert.equal(statSync(server.path).mode & 0o777, 0o600)
    let isClosed = false
    void server.closed.then(() => (isClosed = true))
    await sleep(10)
    assert.equal(isClosed, false)
    await Promise.all([server.stop(), server.stop()])
    await server.closed
    assert.ok(!existsSync(server.path))
    await assert.rejects(dial(server.path))
  })

  test('takes the place of a dead one', async (t) => {
    const path = join(await tempFolder(t), 'dead.sock')
    await deadSocket(path)
    assert.ok(statSync(path).isSocket())
    await go(await dial((await start(t, memory(512), { path })).path))
  })

  test('does not take the place of a living one', async (t) => {
    const living = await start(t, memory(512))
    await assert.rejects(start(t, memory(512), { path: living.path }), knoxError('busy', /serves on/))
    await go(await dial(living.path))
  })

  // FreeBSD's kernel says of a full queue what it says of a dead socket
  const skip = process.platform === 'linux' ? false : 'a full queue cannot be told from a dead socket here'
  test('nor of one that has no time', { skip }, async (t) => {
    const path = join(await tempFolder(t), 'busy.sock')
    await busyServer(t, path)
    await assert.rejects(start(t, memory(512), { path }), knoxError('busy', /serves on/))
    assert.ok(existsSync(path))
  })

  test('does not take the place of a file, a folder or a link, nor has it a name that the kernel would cut', async (t) => {
    const folder = await tempFolder(t)
    const [file, sub, link] = ['file', 'sub', 'link'].map((name) => join(folder, name))
    assert.ok(file !== undefined && sub !== undefined && link !== undefined)
    await writeFile(file, 'mine')
    await mkdir(sub)
    await symlink(join(folder, 'nowhere'), link)
    for (const path of [file, sub, link])
      await assert.rejects(start(t, memory(512), { path }), knoxError('refused', /exists already/))
    assert.equal(await readFile(file, 'utf8'), 'mine')
    const long = join(folder, 'ü'.repeat(60))
    await assert.rejects(start(t, memory(512), { path: long }), knoxError('usage', /too long[^]*103/))
    const just = join(folder, 'x'.repeat(103 - folder.length - 1))
    await go(await dial((await start(t, memory(512), { path: just })).path))
    assert.ok(existsSync(just))
    const nowhere = join(folder, 'none', 'nbd.sock')
    await assert.rejects(start(t, memory(512), { path: nowhere }), knoxError('failed', /cannot be made/))
  })
})

describe('a server that is stopped', () => {
  const slow = (seconds: number) => {
    const plain = memory(2 * MIB)
    let reads = 0
    const read: BlockDevice['read'] = async (offset, length) => {
      reads += 1
      await sleep(seconds * 1000)
      return plain.read(offset, length)
    }
    return { device: { ...plain, read }, reads: () => reads }
  }
  const timed = async (work: Promise<void>): Promise<number> => {
    const before = Date.now()
    await work
    return (Date.now() - before) / 1000
  }
  const ask = (cookie: bigint) => request({ command: READ, cookie, length: 4096 })

  const asked = async (t: TestContext, device: BlockDevice, count: number) => {
    const server = await start(t, device, { limits: { share: 16_384 } })
    const client = await dial(server.path)
    await go(client)
    client.send(...Array.from({ length: count }, (_, n) => ask(BigInt(n))))
    await eventually(() => server.inFlight() > 0)
    return { server, client }
  }

  test('answers what is under way, begins nothing more, and takes nobody in', async (t) => {
    const { device, reads } = slow(0.1)
    const { server, client } = await asked(t, device, 500)
    const stopping = server.stop()
    await assert.rejects(dial(server.path))
    await stopping
    assert.ok(reads() >= 1 && reads() <= 8, `${reads()} reads were begun`)
    for (let n = 0; n < reads(); n += 1) {
      assert.equal((await takeSimple(client)).error, 0)
      await client.take(4096)
    }
    assert.equal((await client.end()).length, 0)
    assert.equal(server.inFlight(), 0)
  })

  test('waits no longer than it is told: not for a device that hangs', async (t) => {
    const { server, client } = await asked(t, { size: 8192, read: () => new Promise(() => undefined) }, 1)
    assert.ok((await timed(server.stop(0.2))) < 1.5)
    assert.equal((await client.end()).length, 0)
    assert.ok(!existsSync(server.path))
  })

  test('nor for clients that do not take their replies, are silent, or are in the midst of something', async (t) => {
    const server = await start(t, memory(2 * MIB), { readOnly: false })
    const deaf = await dial(server.path)
    await go(deaf)
    deaf.socket.pause()
    deaf.send(request({ command: READ, cookie: 1n, length: 2 * MIB }))
    const silent = await dial(server.path)
    const idle = await connected(server.path)
    const writing = await dial(server.path)
    await go(writing)
    writing.send(request({ command: 1, cookie: 1n, payload: Buffer.alloc(MIB) }).subarray(0, 1000))
    await eventually(() => server.inFlight() >= 3 * MIB)
    assert.ok((await timed(server.stop(0.2))) < 1.5)
    for (const client of [silent, idle.client, writing]) await client.end()
    await eventually(() => server.inFlight() === 0)
  })

  test('at once, if nobody wants anything', async (t) => {
    const server = await start(t, memory(512))
    const { client } = await connected(server.path)
    assert.ok((await timed(server.stop(60))) < 2)
    assert.equal((await client.end()).length, 0)
  })
})
