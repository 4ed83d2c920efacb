import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Customised } from '../../../provision/image/customise.ts'
import { readChecksum } from '../../../provision/image/checksum.ts'
import { imageName, newestImage } from '../../../provision/core/image-name.ts'
import { publishImage, type PublishOptions } from '../../../provision/image/publish.ts'
import { knoxError, thrownBy, writeProgram } from '../../support/expect.ts'
import { imageWorld, type ImageWorld } from '../../support/image-world.ts'

/** The finished image with its manifest and checksums: whole, or not there. */

const noXz = spawnSync('xz', ['--version']).error === undefined ? false : 'no xz(1) here'

const sumOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

interface Ready extends ImageWorld {
  readonly out: string
  readonly customised: Customised
  readonly publish: (options?: Partial<PublishOptions>) => ReturnType<typeof publishImage>
}

const ready = async (t: TestContext): Promise<Ready> => {
  const one = await imageWorld(t)
  const customised = await one.customise()
  const out = join(one.dir, 'out')
  mkdirSync(out)
  const facts = {
    date: '2016-02-16',
    revisions: { freebsd: 'r295681', crochet: '65fd598' },
    inputs: [{ name: 'kernconf/RPI-B-ZFS', sha256: '0'.repeat(64) }],
    customised,
  }
  const publish = (options: Partial<PublishOptions> = {}) =>
    publishImage({
      ...{ image: one.image, config: one.config, folder: one.keys, out, compress: false, facts },
      ...options,
    })
  return { ...one, out, customised, publish }
}

const NAME = 'knox-knox-10.2-2016-02-16'

describe('a published image', () => {
  test('has a name, a manifest and a checksum, all for the owner only', async (t) => {
    const one = await ready(t)
    const { image, packed, manifest } = await one.publish()
    assert.deepEqual((await readdir(one.out)).sort(), [`${NAME}.img`, `${NAME}.img.sha256`, `${NAME}.json`])
    for (const name of await readdir(one.out))
      assert.equal(statSync(join(one.out, name)).mode & 0o7777, 0o600, name)
    assert.deepEqual(image, {
      path: join(one.out, `${NAME}.img`),
      bytes: 64 * 1024,
      sha256: sumOf(one.image),
    })
    assert.ok(readFileSync(image.path).equals(readFileSync(one.image)))
    assert.equal(await readChecksum(image.path), image.sha256)
    assert.equal(packed, undefined)
    const said = JSON.parse(readFileSync(manifest, 'utf8')) as Record<string, unknown>
    assert.deepEqual(Object.keys(said), [
      ...['format', 'image', 'box', 'date', 'release', 'hostKeyFingerprint', 'authorityFingerprint', 'time'],
      ...['replacedKeys', 'warnings', 'revisions', 'inputs', 'settings', 'files'],
    ])
    assert.deepEqual(said['image'], { name: `${NAME}.img`, bytes: 64 * 1024, sha256: image.sha256 })
    assert.deepEqual(said['revisions'], { freebsd: 'r295681', crochet: '65fd598' })
    assert.equal(said['hostKeyFingerprint'], one.customised.hostKeyFingerprint)
    assert.deepEqual(said['settings'], { box: one.config.box, image: one.config.image })
    const key = readFileSync(join(one.keys, 'ssh_host_ed25519_key'), 'utf8').split('\n')[1] ?? 'none'
    assert.ok(!readFileSync(manifest, 'utf8').includes(key))
  })

  test('may be packed too', { skip: noXz }, async (t) => {
    const one = await ready(t)
    const { image, packed } = await one.publish({ compress: true })
    assert.ok(packed !== undefined)
    assert.equal(packed.sha256, sumOf(packed.path))
    assert.equal(await readChecksum(packed.path), packed.sha256)
    assert.equal((await readdir(one.out)).length, 5)
    const { stdout } = spawnSync('xz', ['-dc', packed.path])
    assert.ok(stdout.equals(readFileSync(image.path)))
  })

  test('is packed once, also when it came packed from the build host', { skip: noXz }, async (t) => {
    const one = await ready(t)
    const image = join(one.dir, 'image.img.xz')
    writeFileSync(image, spawnSync('xz', ['-0', '-c', one.image]).stdout)
    const made = await one.publish({ image, compress: true })
    assert.ok(readFileSync(made.image.path).equals(readFileSync(one.image)))
    const { stdout } = spawnSync('xz', ['-dc', made.packed?.path ?? ''])
    assert.ok(stdout.equals(readFileSync(one.image)))
  })

  test('is the same from the same input, manifest and all', { skip: noXz }, async (t) => {
    const [one, other] = [await ready(t), await ready(t)]
    await one.publish({ compress: true })
    await other.publish({ compress: true })
    for (const name of await readdir(one.out))
      assert.equal(sumOf(join(one.out, name)), sumOf(join(other.out, name)), name)
  })

  test('replaces another only if it may', async (t) => {
    const one = await ready(t)
    const there = join(one.out, `${NAME}.json`)
    writeFileSync(there, 'precious')
    await assert.rejects(one.publish(), knoxError('refused', /exists already/))
    assert.deepEqual(await readdir(one.out), [`${NAME}.json`])
    assert.equal(readFileSync(there, 'utf8'), 'precious')
    await one.publish({ replace: true })
    assert.equal((await readdir(one.out)).length, 3)
  })

  test('never leaves an older image beside the papers of this one', async (t) => {
    const one = await ready(t)
    const image = join(one.out, `${NAME}.img`)
    for (const name of [image, `${image}.xz`, `${image}.xz.sha256`]) writeFileSync(name, 'of yesterday')
    // its papers cannot get their name: this is how far a killed run comes
    mkdirSync(`${image}.sha256`)
    await assert.rejects(one.publish({ replace: true }))
    assert.deepEqual(await readdir(one.out), [`${NAME}.img.sha256`])
  })

  test('is named after box, release and date', async (t) => {
    const { config } = await imageWorld(t, 'official')
    assert.equal(
      imageName({ ...config, box: { ...config.box, name: 'attic' } }, '2024-01-31'),
      'knox-attic-13.2-2024-01-31.img',
    )
    assert.throws(() => imageName(config, '../../x'), RangeError)
    const [older, newer] = [imageName(config, '2024-01-31'), imageName(config, '2025-01-01')]
    const others = ['knox.img', `${newer}.xz`, newer.replace('2025', 'x2025'), `other-${newer}`]
    assert.equal(newestImage([...others, newer, older], config), newer)
    assert.equal(newestImage(others, config), undefined)
  })
})

describe('no file that looks finished is left', () => {
  const nothing = async (one: Ready, options: Partial<PublishOptions>): Promise<unknown> => {
    const error = await thrownBy(() => one.publish(options))
    assert.deepEqual(await readdir(one.out), [])
    return error
  }

  test('if xz fails, early or late, or is not there', async (t) => {
    const one = await ready(t)
    const bin = join(one.dir, 'bin')
    mkdirSync(bin)
    await writeProgram(bin, 'xz', 'echo some; echo "xz: (stdin): Cannot allocate memory" >&2; exit 1')
    one.usePath(bin)
    assert.ok(knoxError('failed', /Cannot allocate memory/)(await nothing(one, { compress: true })))
    one.usePath(join(one.dir, 'nowhere'))
    assert.ok(knoxError('platform', /xz is not installed/)(await nothing(one, { compress: true })))
  })

  test('if keys and image do not belong together', async (t) => {
    const one = await ready(t)
    const customised = { ...one.customised, hostKeyFingerprint: 'SHA256:other' }
    const facts = { date: '2016-02-16', revisions: {}, inputs: [], customised }
    assert.ok(knoxError('config', /another host key/)(await nothing(one, { facts })))
  })

  test('if it is not the image that the build host has', async (t) => {
    const one = await ready(t)
    assert.ok(
      knoxError('verification', /another than it has/)(await nothing(one, { sha256: '0'.repeat(64) })),
    )
    assert.equal((await one.publish({ sha256: sumOf(one.image) })).image.sha256, sumOf(one.image))
  })

  test('if the owner stops it', async (t) => {
    const one = await ready(t)
    const stop = new AbortController()
    stop.abort()
    assert.ok(knoxError('interrupted')(await nothing(one, { signal: stop.signal })))
  })
})
