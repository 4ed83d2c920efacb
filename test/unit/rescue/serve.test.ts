import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { openProvider } from '../../../provision/geli/provider.ts'
import { serveDisk } from '../../../provision/rescue/serve.ts'
import { tempFolder } from '../../support/expect.ts'
import { deviceOf, keyFilesOf, plaintextOf, vectors } from '../geli/vectors.ts'
import { dial, go, request, takeSimple } from '../nbd/client.ts'

/** A GELI disk of FreeBSD's own making behind the NBD server: every byte where it belongs, however it is asked for. */

const vector = vectors.find(({ name }) => name === 'v7-xts128-s4096') ?? assert.fail('the vector is missing')
const SIZE = vector.eli.mediasize

describe('a decrypted disk, served', () => {
  test('reads and writes of any place and length, several at once, are those of the plaintext', async (t) => {
    const provider = await openProvider(await deviceOf(vector), {
      keyFiles: keyFilesOf(vector.keyfiles),
      writable: true,
    })
    const path = join(await tempFolder(t), 'disk.sock')
    const end = new AbortController()
    const served = (await serveDisk(provider, path, true)).until(end.signal)
    const model = plaintextOf(vector, 0, SIZE)
    const client = await dial(path)
    await go(client)
    const near = fc.nat(Math.floor(SIZE / 4096)).map((sector) => sector * 4096)
    const place = fc
      .tuple(fc.oneof(fc.nat(SIZE), near), fc.integer({ min: -3, max: 3 }), fc.nat(20_000))
      .map(([start, shift, length]) => {
        const offset = Math.min(Math.max(0, start + shift), SIZE)
        return { offset, length: Math.min(length, SIZE - offset) }
      })
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 6 }), place, async (reads, written) => {
        const payload = Buffer.alloc(written.length, written.offset % 251)
        client.send(request({ command: 1, cookie: 99n, offset: written.offset, payload }))
        assert.deepEqual(await takeSimple(client), { error: 0, cookie: 99n })
        payload.copy(model, written.offset)
        client.send(...reads.map((read, n) => request({ command: 0, cookie: BigInt(n), ...read })))
        for (let n = 0; n < reads.length; n += 1) {
          const { error, cookie } = await takeSimple(client)
          const read = reads[Number(cookie)] ?? assert.fail('a cookie of nobody')
          assert.equal(error, 0)
          const wanted = model.subarray(read.offset, read.offset + read.length)
          assert.ok((await client.take(read.length)).equals(wanted), JSON.stringify(read))
        }
      }),
      { numRuns: 150 },
    )
    client.socket.destroy()
    end.abort()
    await served
    provider.close()
    await assert.rejects(() => provider.read(0, 10), /closed/)
  })

  test('is read-only unless it is told otherwise', async (t) => {
    const provider = await openProvider(await deviceOf(vector), { keyFiles: keyFilesOf(vector.keyfiles) })
    const path = join(await tempFolder(t), 'disk.sock')
    const end = new AbortController()
    const served = (await serveDisk(provider, path, false)).until(end.signal)
    const client = await dial(path)
    assert.equal((await go(client)).flags & 2, 2)
    client.send(request({ command: 1, cookie: 1n, offset: 0, payload: Buffer.alloc(512) }))
    assert.deepEqual(await takeSimple(client), { error: 1, cookie: 1n })
    client.socket.destroy()
    end.abort()
    await served
  })
})
