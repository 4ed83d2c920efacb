import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { missing, SHELLS, testsUnder } from './box.ts'

/** Whatever becomes of a session, its guard locks the disk. */

for (const [name, shell] of SHELLS)
  describe(`the guard of a session under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)

    withBox('a killed session is cleaned up by its guard, at every point (facts 11.7)', async (box) => {
      for (const until of ['unlocked', 'receiving']) {
        const session = await box.unlocked()
        if (until === 'receiving') {
          box.flag('hang-receive')
          session.say('receive\tfull\twd/x\n')
          assert.equal(await session.line(), 'ready')
        }
        session.child.kill('SIGKILL')
        await box.settled()
      }
    })

    withBox('a killed guard does not matter to the session', async (box) => {
      const session = await box.unlocked()
      process.kill(Number(readFileSync(join(box.state, 'run/guard'), 'utf8')), 'SIGKILL')
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.equal(await session.ended, 0)
    })

    withBox(
      'a session that is busy when its connection ends is ended by its guard',
      async (box) => {
        const session = await box.unlocked(box.sessionBySshd())
        box.flag('hang-receive')
        session.say('receive\tfull\twd/a\n')
        assert.equal(await session.line(), 'ready')
        session.child.kill('SIGKILL')
        const started = Date.now()
        await box.settled()
        assert.ok(
          Date.now() - started < 20_000,
          'it was not the end of zfs receive, after 40 s, that ended it',
        )
      },
      name === 'busybox ash' && 'the ps inside busybox shows no parents, and its ash takes no other',
    )

    withBox('a home that says nothing for too long is locked out', async (box) => {
      const session = await box.unlocked()
      assert.equal(await session.ended, null)
    })

    withBox('a killed session that nobody asks for is no reason to wait', async (box) => {
      await box.unlocked(box.sessionOfNobody())
    })
  })
