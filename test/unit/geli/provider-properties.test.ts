import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { openProvider } from '../../../provision/geli/provider.ts'
import { memoryDevice } from './devices.ts'
import { KEY_FILE, lastSector, metadataOf, naiveRun, SHAPES } from './naive.ts'

const arbitraryShape = fc
  .tuple(fc.constantFrom(...SHAPES), fc.constantFrom(512, 1024, 2048, 4096, 8192))
  .map(([shape, sectorsize]) => ({ ...shape, sectorsize }))

interface Step {
  readonly at: number
  readonly length: number
  readonly write: boolean
}

/** a number from 0 to 1, each part of it as likely as another (fc.double is nearly always near 0) */
const share = fc.nat({ max: 1_000_000 }).map((millionths) => millionths / 1_000_000)

/** places and lengths as shares of the device, so that they fit any size */
const steps = fc.array(
  fc.record({
    at: fc.oneof(share, fc.constant(0)),
    length: fc.oneof(
      share,
      share.map((part) => part / 50),
      fc.constantFrom(0, 1),
    ),
    write: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
)

const world = fc.record({
  shape: arbitraryShape,
  blockSize: fc.constantFrom(512, 4096),
  sectors: fc.integer({ min: 1, max: 40 }),
  /** provider sectors that are too few for one more of GELI's */
  odd: fc.integer({ min: 0, max: 3 }),
  /** bytes behind the provider, which md(4) would cut off */
  tail: fc.integer({ min: 0, max: 511 }),
  steps,
})

/** bytes that differ everywhere, so that nothing misplaced looks right */
const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(
    Uint32Array.from({ length: Math.ceil(length / 4) }, (_, i) => (i + seed) * 2_654_435_761).buffer,
  ).subarray(0, length)

type World = typeof world extends fc.Arbitrary<infer T> ? T : never

/** The image of a provider full of noise, and what it decrypts to. */
const build = async ({ shape, blockSize, sectors, odd, tail }: World) => {
  const size = sectors * shape.sectorsize
  const spare = (odd * blockSize) % shape.sectorsize
  const provsize = Math.ceil((size + spare) / blockSize) * blockSize + blockSize
  const metadata = await metadataOf(shape, provsize)
  const image = Buffer.concat([
    pattern(provsize - blockSize, sectors),
    lastSector(metadata, blockSize),
    Buffer.alloc(tail, 1),
  ])
  const mediasize = provsize - blockSize - ((provsize - blockSize) % shape.sectorsize)
  return { image, metadata, plain: naiveRun(metadata, 'decrypt', image.subarray(0, mediasize), 0) }
}

const rangeOf = ({ at, length }: Step, size: number) => {
  const offset = Math.floor(at * size)
  return { offset, length: Math.floor(length * (size - offset)) }
}

describe('a provider, against the plainest implementation', () => {
  test('unaligned reads and writes of any size give and leave what they should, and nothing else changes', async () => {
    let written = 0
    await fc.assert(
      fc.asyncProperty(world, async (drawn) => {
        const { image, metadata, plain } = await build(drawn)
        const behind = Buffer.from(image.subarray(plain.length))
        const provider = await openProvider(memoryDevice(image), { keyFiles: [KEY_FILE], writable: true })
        assert.equal(provider.size, plain.length)
        assert.equal(provider.slot, 1)
        for (const [index, step] of drawn.steps.entries()) {
          const { offset, length } = rangeOf(step, plain.length)
          if (!step.write) {
            assert.ok((await provider.read(offset, length)).equals(plain.subarray(offset, offset + length)))
            continue
          }
          const data = pattern(length, index + 1000)
          const before = Buffer.from(data)
          await provider.write!(offset, data)
          assert.ok(data.equals(before), 'the data is still the caller’s')
          data.copy(plain, offset)
          written += 1
        }
        assert.ok((await provider.read(0, provider.size)).equals(plain))
        assert.ok(naiveRun(metadata, 'encrypt', plain, 0).equals(image.subarray(0, plain.length)))
        assert.ok(behind.equals(image.subarray(plain.length)), 'the metadata is as it was')
      }),
      { numRuns: 300 },
    )
    assert.ok(written > 100, `only ${written} writes`)
  })

  test('what is done at the same time ends as if done in turn, even inside of one sector', async () => {
    await fc.assert(
      fc.asyncProperty(world, async (drawn) => {
        const { image, plain } = await build(drawn)
        const provider = await openProvider(memoryDevice(image), { keyFiles: [KEY_FILE], writable: true })
        const works = drawn.steps.map((step, index) => {
          const { offset, length } = rangeOf(step, plain.length)
          if (!step.write) return provider.read(offset, length)
          pattern(length, index).copy(plain, offset)
          return provider.write!(offset, pattern(length, index))
        })
        await Promise.all(works)
        assert.ok((await provider.read(0, provider.size)).equals(plain))
      }),
      { numRuns: 150 },
    )
  })

  test('a read does not write into what the device gave', async () => {
    await fc.assert(
      fc.asyncProperty(world, async (drawn) => {
        const { image, plain } = await build(drawn)
        const before = Buffer.from(image)
        const provider = await openProvider(memoryDevice(image), { keyFiles: [KEY_FILE] })
        await provider.read(0, plain.length)
        assert.ok(image.equals(before))
      }),
      { numRuns: 30 },
    )
  })
})
