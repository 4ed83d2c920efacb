import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { EXIT_CODES } from '../../../provision/core/errors.ts'
import { parseMetadata } from '../../../provision/geli/metadata.ts'
import { doctor } from '../../../scripts/doctor.ts'
import { show } from '../../support/terminal.ts'
import { contentOf } from '../keys/folders.ts'
import { healthy, metadataOf } from './home.ts'
import { ILLS } from './ills.ts'

const NAMES = [
  ...['node', 'zfs', 'ssh', 'knox.yaml', 'keys', 'certificates', 'disk key', 'disk metadata', 'copy of keys'],
  ...['pool', 'snapshots', 'names', 'zfs allow', 'schedule', '192.0.2.1', 'login'],
  ...['last run', 'last proof', 'datasets', 'box’s space', 'contents'],
]

describe('knox doctor', () => {
  test('finds nothing at a healthy home, and changes nothing', async (t) => {
    parseMetadata(metadataOf())
    const home = await healthy(t)
    const before = await contentOf(home.dir)
    const { code, links } = await home.look()
    assert.deepEqual(
      links.map(({ name }) => name),
      NAMES,
    )
    const ill = links.filter(({ state }) => state !== 'ok')
    // the stand-in for zfs has no versions, and who is not root is not allowed by it
    assert.deepEqual(
      ill.filter(({ name }) => !['zfs', 'zfs allow'].includes(name)),
      [],
    )
    assert.equal(code, 0)
    assert.deepEqual(await contentOf(home.dir), before)
  })

  for (const { title, link, state, says, code, make } of ILLS)
    test(`${title}: ${state}, with what to do`, async (t) => {
      const home = await healthy(t)
      await make(home)
      const { code: exit, links } = await home.look()
      const found = links.find(({ name }) => name === link)!
      assert.equal(found.state, state, JSON.stringify(links, null, 1))
      assert.match(`${found.text} ${found.hint ?? ''}`, says)
      assert.ok((found.hint ?? '') !== '' || state === 'broken')
      assert.equal(found.code, code)
      // the chain goes on behind a broken link, and the first broken one says the exit code
      assert.deepEqual(
        links.map(({ name }) => name),
        NAMES,
      )
      const first = links.find((one) => one.state === 'broken')?.code ?? 'ok'
      assert.equal(exit, EXIT_CODES[first as keyof typeof EXIT_CODES])
    })

  test('without a knox.yaml, or with a wrong one, looks at the programs and says what to do', async (t) => {
    const home = await healthy(t)
    const file = join(home.dir, 'knox.yaml')
    await writeFile(file, 'box: 5\n')
    const wrong = await home.look()
    assert.deepEqual(
      wrong.links.map(({ name }) => name),
      ['node', 'zfs', 'ssh', 'knox.yaml'],
    )
    assert.equal(wrong.code, EXIT_CODES.config)
    await rm(file)
    const { code, links } = await home.look()
    assert.equal(code, EXIT_CODES.config)
    assert.match(links.at(-1)?.hint ?? '', /cp knox\.example\.yaml/)
  })

  test('without keys or address says so, and looks at all the rest', async (t) => {
    const home = await healthy(t)
    const file = join(home.dir, 'knox.yaml')
    await writeFile(file, home.yaml.replace('192.0.2.1', ''))
    const lost = (await home.look()).links.find(({ name }) => name === 'login')
    assert.deepEqual(
      [lost?.state, lost?.code, lost?.text],
      ['broken', 'config', 'knox.yaml names no address of the box'],
    )
    await rm(home.folder, { recursive: true })
    const { code, links } = await home.look()
    assert.equal(code, EXIT_CODES.config)
    assert.match(links.find(({ name }) => name === 'keys')?.hint ?? '', /knox keys init/)
    assert.ok(links.some(({ name }) => name === 'pool'))
  })

  test('for people is one line a link', async (t) => {
    const home = await healthy(t)
    await rm(join(home.folder, 'keys-backup.json'))
    const { stdout } = await show([doctor], 'doctor', '--config', join(home.dir, 'knox.yaml'))
    assert.equal(stdout.trimEnd().split('\n').length, NAMES.length)
    assert.match(stdout, /^ok {9}node +v/m)
    assert.match(stdout, /^attention {2}copy of keys +the keys as .* {2}-> {2}knox keys backup FILE/m)
  })
})
