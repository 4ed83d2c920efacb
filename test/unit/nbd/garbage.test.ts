import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { connected, dial, go, infoRequest, option, request, u32, type Client } from './client.ts'
import { eventually, memory, start } from './devices.ts'

const [READ, WRITE] = [0, 1] as const

const noise = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes))
const anyNumber = fc.oneof(fc.nat(12), fc.nat(0xffff_ffff))
const anyOption = fc
  .tuple(anyNumber, fc.oneof(noise, fc.constantFrom(infoRequest(''), infoRequest('disk', 3))))
  .map(([number, data]) => option(number, data))
const anyRequest = fc
  .record({
    flags: fc.oneof(fc.constant(0), fc.nat(0xffff)),
    command: fc.oneof(fc.nat(9), fc.nat(0xffff)),
    cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    offset: fc.oneof(fc.nat(70_000).map(BigInt), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    length: fc.oneof(fc.nat(70_000), anyNumber),
  })
  .map(request)
/** bytes that are changed here and there, and cut somewhere */
const spoilt = (bytes: fc.Arbitrary<Buffer>) =>
  fc
    .tuple(bytes, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), fc.nat(), fc.boolean())
    .map(([whole, changes, place, isCut]) => {
      const all = Buffer.from(whole)
      for (const [at, value] of changes) if (all.length > 0) all[at % all.length] = value
      return isCut ? all.subarray(0, place % (all.length + 1)) : all
    })
const many = (one: fc.Arbitrary<Buffer>) =>
  fc.array(one, { maxLength: 8 }).map((parts) => Buffer.concat(parts))

const streams = fc.oneof(
  fc.record({ late: fc.boolean(), bytes: noise }),
  fc.record({
    late: fc.constant(false),
    bytes: spoilt(many(anyOption).map((options) => Buffer.concat([u32(3), options]))),
  }),
  fc.record({ late: fc.constant(true), bytes: spoilt(many(fc.oneof(anyRequest, noise))) }),
)

const leave = (client: Client, how: 'half' | 'torn' | 'deaf'): void => {
  if (how === 'half') client.socket.end()
  else if (how === 'torn') client.socket.destroy()
  else client.socket.pause()
}

describe('garbage', () => {
  test('neither ends nor hangs nor fills a server, which serves a good client meanwhile', async (t) => {
    const device = memory(65_536)
    const places = 6
    const server = await start(t, device, {
      readOnly: false,
      limits: { clients: places, handshakeSeconds: 2 },
    })
    const good = await connected(server.path)
    const seed = Number(process.env['KNOX_SEED'] ?? Date.now() % 1_000_000)
    t.diagnostic(`seed ${seed}`)
    let served = 0
    await fc.assert(
      fc.asyncProperty(streams, fc.constantFrom('half', 'torn', 'deaf'), async ({ late, bytes }, how) => {
        const bad = await dial(server.path)
        if (late) await go(bad)
        else await bad.take(18)
        bad.send(bytes)
        leave(bad, how)
        served += 1
        const payload = Buffer.alloc(50, served)
        assert.equal((await good.ask({ command: WRITE, offset: 65_400, payload })).error, 0)
        const { data } = await good.ask({ command: READ, offset: 65_390, length: 70 })
        assert.equal(data.length, 70)
        bad.socket.destroy()
      }),
      { numRuns: 3000, seed },
    )
    await eventually(() => server.inFlight() === 0)
    // no place is lost: all but one are free
    await Promise.all(Array.from({ length: places - 1 }, () => connected(server.path)))
    const before = Date.now()
    await server.stop()
    assert.ok(Date.now() - before < 2000)
  })
})
