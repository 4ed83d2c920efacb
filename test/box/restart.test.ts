import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'node:test'
import { missing, SHELLS, testsUnder } from './box.ts'

/** A box that cannot lock its disk restarts, and only such a box. */

for (const [name, shell] of SHELLS)
  describe(`the box’s script under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)

    withBox('restarts when it cannot lock, even if the restart waits for something', async (box) => {
      const session = await box.unlocked()
      for (const flag of ['fail-detach', 'hang-reboot']) box.flag(flag)
      rmSync(join(box.state, 'last'))
      session.child.stdin.end()
      assert.match((await session.line()) ?? '', /^failed lock/)
      assert.equal(await session.ended, 3)
      assert.match(box.log(), /reboot -q\nreboot -n -q\n/)
      rmSync(join(box.state, 'dev/da0.eli'))
    })

    withBox('restarts too when the session was killed and its guard cannot lock', async (box) => {
      const session = await box.unlocked()
      box.flag('fail-detach')
      rmSync(join(box.state, 'last'))
      session.child.kill('SIGKILL')
      for (let waited = 0; waited < 200 && !box.log().includes('reboot'); waited += 1) await sleep(100)
      assert.match(box.log(), /geli detach -f da0\n[^]*reboot -q\n/)
      rmSync(join(box.state, 'dev/da0.eli'))
    })

    withBox('restarts when ZFS answers no question any more', async (box) => {
      const session = await box.unlocked()
      for (const flag of ['fail-detach', 'hang-export', 'hang-list', 'hang-status']) box.flag(flag)
      const began = performance.now()
      session.child.stdin.end()
      assert.match((await session.line()) ?? '', /^failed lock/)
      assert.equal(await session.ended, 3)
      assert.match(box.log(), /reboot -q\n/)
      assert.ok(performance.now() - began < 50_000, 'it has waited for zpool status')
      for (const left of ['dev/da0.eli', 'imported', 'hang-list']) rmSync(join(box.state, left))
    })

    withBox('panics when ZFS has given up on the disk: reboot would wait with it', async (box) => {
      const session = await box.unlocked()
      for (const flag of ['fail-detach', 'hang-export', 'hang-receive']) box.flag(flag)
      session.say('receive\tfull\twd/a\n')
      assert.equal(await session.line(), 'ready')
      box.flag('stuck')
      assert.match((await session.line()) ?? '', /^failed disk ZFS has given up on da0/)
      assert.equal(await session.line(), undefined)
      for (let waited = 0; waited < 300 && !box.log().includes('reboot'); waited += 1) await sleep(100)
      assert.match(
        box.log(),
        /geli detach -f da0\n[^]*dumpon off\nsysctl debug.debugger_on_panic=0\nsysctl debug.kdb.panic=1\nreboot -n -q\n/,
      )
      assert.doesNotMatch(box.log(), /reboot -q\n/)
      for (const left of ['dev/da0.eli', 'imported']) rmSync(join(box.state, left))
    })

    withBox('locks without a restart when it can', async (box) => {
      const session = await box.unlocked()
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.equal(await session.ended, 0)
      assert.doesNotMatch(box.log(), /reboot/)
    })
  })
