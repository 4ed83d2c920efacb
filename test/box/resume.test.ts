import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { makeBox, missing, SHELLS, stream, type TestBox } from './box.ts'

for (const [name, shell] of SHELLS)
  describe(`a broken stream, under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = (title: string, work: (box: TestBox) => Promise<void>) =>
      test(title, async () => {
        const box = makeBox(shell)
        try {
          await work(box)
          await box.settled()
        } finally {
          box.remove()
        }
      })

    withBox('where zfs knows tokens, keeps what arrived of a broken stream', async (box) => {
      box.flag('tokens')
      const session = await box.unlocked()
      session.say('list\n')
      while ((await session.line()) !== 'end');
      session.say('receive\tfull\twd/x\n')
      assert.equal(await session.line(), 'ready')
      session.say(stream(Buffer.from('x')))
      assert.equal(await session.line(), 'ok 777')
      session.say('receive\tresume\twd/x\n')
      assert.equal(await session.line(), 'ready')
      session.say(stream(Buffer.from('the rest')))
      assert.equal(await session.line(), 'ok 777')
      session.say('discard\twd/x\n')
      assert.equal(await session.line(), 'ok')
      session.say('discard\twd/none\n')
      assert.match((await session.line()) ?? '', /^failed refused cannot receive/)
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.deepEqual(box.log().match(/^zfs (?:receive|set canmount).*$/gm), [
        'zfs receive -u -s wd/x',
        'zfs set canmount=noauto wd/x',
        'zfs receive -u -s wd/x',
        'zfs receive -A wd/x',
        'zfs receive -A wd/none',
      ])
    })

    withBox('where zfs knows no tokens, as on 10.2, there is nothing to go on with', async (box) => {
      const session = await box.unlocked()
      session.say('list\n')
      while ((await session.line()) !== 'end');
      session.say('receive\tresume\twd\n')
      assert.match((await session.line()) ?? '', /^failed refused this box cannot go on/)
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.doesNotMatch(box.log(), /receive -u/)
    })
  })
