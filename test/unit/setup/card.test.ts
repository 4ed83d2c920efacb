import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { makeCard } from '../../../provision/setup/card.ts'
import { worldOf } from '../../support/wizard.ts'

/** A card that is made by the wizard: once, from an image that is named, or built where FreeBSD is. */

const start = async (t: TestContext, flags: readonly string[]) => {
  const { dir, world, ran } = await worldOf(t, [], {}, flags)
  await mkdir(join(dir, 'keys'), { mode: 0o700 })
  const image = join(dir, 'x.img')
  await writeFile(image, '')
  const owner: typeof world.owner = {
    ...world.owner,
    ask: ({ flag }) => Promise.resolve(flag === 'card' ? '/dev/sdb' : image),
  }
  // what was flashed where, and that the box is waited for
  const done = () =>
    ran.map(([verb = '', ...words]) => (verb === 'flash' ? [verb, ...words.slice(1)] : [verb]).join(' '))
  return { dir, world: { ...world, owner }, done }
}

describe('a card', () => {
  const once = ['flash', 'flash /dev/sdb', 'discover']

  test('is not made again by --yes, when the box is only waited for', async (t) => {
    const { world, done } = await start(t, ['yes'])
    await makeCard(world)
    assert.deepEqual(done(), once)
    await makeCard(world)
    assert.deepEqual(done(), [...once, 'discover'])
    // whoever types the drive's name may make as many as he wants
    const args = { ...world.owner.args, flag: () => false }
    await makeCard({ ...world, owner: { ...world.owner, args } })
    assert.deepEqual(done(), [...once, 'discover', ...once])
  })

  test('that was not finished is made again', async (t) => {
    const { world, done } = await start(t, ['yes'])
    const run = async (words: readonly string[]) => {
      await world.owner.run(words)
      if (words.length > 1) throw new Error('pulled out')
    }
    await assert.rejects(makeCard({ ...world, owner: { ...world.owner, run } }), /pulled out/)
    await makeCard(world)
    assert.deepEqual(done(), ['flash', 'flash /dev/sdb', ...once])
  })

  test('whose image cannot be built here is built by a FreeBSD that is asked for once', async (t) => {
    const { dir, world } = await start(t, [])
    const problems: string[] = []
    const yaml = () => readFile(join(dir, 'knox.yaml'), 'utf8')
    const answers: Readonly<Record<string, string>> = { image: '', builder: 'root@builder.lan' }
    const asked: string[] = []
    const owner: typeof world.owner = {
      ...world.owner,
      ask: ({ flag, problem }) => {
        asked.push(flag)
        for (const wrong of ['builder.lan', '-oProxyCommand=id@x', 'root@'])
          if (flag === 'builder') problems.push(problem?.(wrong) ?? 'none')
        return Promise.resolve(answers[flag] ?? '')
      },
      run: () => Promise.reject(new Error('it builds')),
    }
    await assert.rejects(makeCard({ ...world, owner }), /it builds/)
    assert.match(await yaml(), /image:\n {2}builder: root@builder\.lan/)
    assert.deepEqual(new Set(problems), new Set(['is not a machine: expected user@host or user@host:port']))
    await assert.rejects(makeCard({ ...world, owner }), /it builds/)
    assert.deepEqual(asked, ['image', 'builder', 'image'])
  })
})
