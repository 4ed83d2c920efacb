import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { missing, SHELLS, stream, testsUnder } from './box.ts'

for (const [name, shell] of SHELLS)
  describe(`a broken stream, under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)

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

    withBox(
      'waits for the room that a discarded stream gives back, before it tells its list',
      async (box) => {
        box.flag('tokens')
        const session = await box.unlocked()
        session.say('receive\tfull\twd/x\n')
        assert.equal(await session.line(), 'ready')
        session.say(stream(Buffer.from('x')))
        assert.equal(await session.line(), 'ok 777')
        box.flag('freeing', '2')
        session.say('discard\twd/x\n')
        assert.equal(await session.line(), 'ok')
        assert.equal(box.log().match(/^zpool list -H -o freeing wd$/gm)?.length, 3)
        box.flag('freeing', '100')
        session.say('list\n')
        const before = Date.now()
        while ((await session.line()) !== 'end');
        assert.ok(Date.now() - before < 15_000, 'it waited without a limit')
        session.say('bye\n')
        assert.equal(await session.line(), 'locked')
      },
    )

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
