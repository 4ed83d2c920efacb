import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { findMetadata } from '../../../provision/geli/find-metadata.ts'
import { openSlots } from '../../../provision/geli/master-key.ts'
import { encodeMetadata, parseMetadata, type Metadata } from '../../../provision/geli/metadata.ts'
import { openProvider } from '../../../provision/geli/provider.ts'
import { userKey } from '../../../provision/geli/user-key.ts'
import { memoryDevice } from './devices.ts'
import { KEY_FILE, KEYS, metadataOf } from './naive.ts'

/** Metadata that were changed at random: whatever comes, a KnoxError or what really stands there. GELI_SEED=N repeats a run. */

const COUNT = 1_000_000
const SEED = Number(process.env['GELI_SEED'] ?? randomInt(2 ** 31))

/** Numbers below `limit`, always the same for a seed (mulberry32). */
const generator = (seed: number) => {
  let state = seed | 0
  return (limit: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}
type Draw = ReturnType<typeof generator>

/** where each field stands in versions above 0, and its length */
const FIELDS = [
  ...[
    [0, 10],
    [10, 6],
    [16, 4],
    [20, 4],
    [24, 2],
    [26, 2],
    [28, 2],
    [30, 8],
    [38, 4],
    [42, 1],
    [43, 4],
  ],
  ...[
    [47, 64],
    [111, 192],
    [303, 192],
    [495, 16],
  ],
] as const

const ODD_BYTES = [0, 1, 2, 3, 5, 6, 7, 8, 10, 16, 0x12, 0x20, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff]

const mutateOnce = (sector: Buffer, draw: Draw) => {
  const [start, length] = FIELDS[draw(FIELDS.length)]!
  const at = start + draw(length)
  switch (draw(5)) {
    case 0:
      sector.writeUInt8(sector.readUInt8(at) ^ (1 << draw(8)), at)
      break
    case 1:
      sector.writeUInt8(ODD_BYTES[draw(ODD_BYTES.length)]!, at)
      break
    case 2:
      sector.fill(ODD_BYTES[draw(ODD_BYTES.length)]!, start, start + length)
      break
    case 3: {
      const from = draw(511)
      sector.copyWithin(at, from, from + draw(32))
      break
    }
    default:
      for (let i = start; i < start + length; i += 1) sector.writeUInt8(draw(256), i)
  }
}

const checksumEnd = (sector: Buffer) => (sector.readUInt32LE(16) === 0 ? 493 : 495)

/** A changed copy; two in three get a checksum that fits, so that what stands before it is looked at. */
const mutant = (original: Buffer, draw: Draw): Buffer => {
  const sector = Buffer.from(original)
  for (let left = 1 + draw(3); left > 0; left -= 1) mutateOnce(sector, draw)
  if (draw(3) > 0) {
    const end = checksumEnd(sector)
    createHash('md5').update(sector.subarray(0, end)).digest().copy(sector, end)
  }
  return draw(10) === 0 ? sector.subarray(0, draw(513)) : sector
}

/** The fields once more, read by their offsets in the format's description. */
const expected = (sector: Buffer): Metadata => {
  const fields = new DataView(sector.buffer, sector.byteOffset, sector.length)
  const version = fields.getUint32(16, true)
  const back = version === 0 ? 2 : 0
  return {
    version,
    flags: fields.getUint32(20, true),
    ealgo: fields.getUint16(24, true),
    keylen: fields.getUint16(26, true),
    aalgo: version === 0 ? 0 : fields.getUint16(28, true),
    provsize: fields.getUint32(30 - back, true) + 2 ** 32 * fields.getUint32(34 - back, true),
    sectorsize: fields.getUint32(38 - back, true),
    keys: fields.getUint8(42 - back),
    iterations: fields.getInt32(43 - back, true),
    salt: sector.subarray(47 - back, 111 - back),
    mkeys: sector.subarray(111 - back, 495 - back),
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof KnoxError && ['verification', 'platform', 'key-rejected'].includes(error.code)

/** The value, or undefined if it is refused in an orderly way; anything else that is thrown goes on. */
const orRefused = <T>(work: () => T): T | undefined => {
  try {
    return work()
  } catch (error) {
    if (isRefusal(error)) return undefined
    throw error
  }
}

const sameMetadata = (one: Metadata, other: Metadata): boolean =>
  one.salt.equals(other.salt) &&
  one.mkeys.equals(other.mkeys) &&
  JSON.stringify({ ...one, salt: 0, mkeys: 0 }) === JSON.stringify({ ...other, salt: 0, mkeys: 0 })

const originals = async () =>
  Promise.all(
    [
      { version: 7, ealgo: 22, keylen: 128, sectorsize: 4096 },
      { version: 6, ealgo: 11, keylen: 256, sectorsize: 512 },
      { version: 0, ealgo: 11, keylen: 128, sectorsize: 512 },
    ].map(async (shape) => encodeMetadata(await metadataOf(shape, 2 ** 16))),
  )

test(`${COUNT} changed metadata sectors: refused or read as they are`, async (t) => {
  t.diagnostic(`GELI_SEED=${SEED}`)
  const draw = generator(SEED)
  const sectors = await originals()
  const user = await userKey({ salt: Buffer.alloc(64), iterations: -1 }, { keyFiles: [KEY_FILE] })
  const count = { parsed: 0, refused: 0, opened: 0 }
  for (let round = 0; round < COUNT; round += 1) {
    const sector = mutant(sectors[draw(sectors.length)]!, draw)
    const metadata = orRefused(() => parseMetadata(sector))
    if (metadata === undefined) {
      count.refused += 1
      continue
    }
    count.parsed += 1
    const end = checksumEnd(sector)
    const sound =
      sameMetadata(metadata, expected(sector)) &&
      createHash('md5')
        .update(sector.subarray(0, end))
        .digest()
        .equals(sector.subarray(end, end + 16))
    assert.ok(sound, `round ${round}: ${sector.toString('hex')}`)
    if (round % 4 !== 0) continue
    const keys = orRefused(() => openSlots(metadata, user))
    if (keys === undefined) continue
    count.opened += 1
    assert.ok(keys.ivKey.equals(KEYS.ivKey) && keys.dataKey.equals(KEYS.dataKey), `round ${round}`)
  }
  t.diagnostic(JSON.stringify(count))
  assert.ok(Math.min(count.parsed, count.refused, count.opened) > COUNT / 100, JSON.stringify(count))
})

test('5000 devices that end so: refused, or every byte of them can be read', async (t) => {
  t.diagnostic(`GELI_SEED=${SEED}`)
  const draw = generator(SEED + 1)
  const sectors = await originals()
  const count = { found: 0, opened: 0, refused: 0 }
  const device = Buffer.alloc(2 ** 16)
  for (let round = 0; round < 5_000; round += 1) {
    const sector = mutant(sectors[draw(sectors.length)]!, draw)
    device.fill(0, device.length - 512)
    sector.copy(device, device.length - 512)
    try {
      await findMetadata(memoryDevice(device))
      count.found += 1
      const provider = await openProvider(memoryDevice(device), { keyFiles: [KEY_FILE] })
      assert.equal((await provider.read(0, provider.size)).length, provider.size)
      count.opened += 1
    } catch (error) {
      if (!isRefusal(error)) throw new Error(`round ${round}: ${sector.toString('hex')}`, { cause: error })
      count.refused += 1
    }
  }
  t.diagnostic(JSON.stringify(count))
  assert.ok(Math.min(count.found, count.opened, count.refused) > 100, JSON.stringify(count))
})
