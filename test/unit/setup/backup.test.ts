import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { rememberLink } from '../../../provision/runtime/measure-link.ts'
import { firstBackup, schedule } from '../../../provision/setup/backup.ts'
import { HERE, runnerAt } from '../../../provision/system/runner.ts'
import { readCrontab } from '../../../provision/tools/crontab.ts'
import { withEnv, writeProgram } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { homeBehind } from '../../support/stub-home.ts'
import { worldOf } from '../../support/wizard.ts'

test('the first backup foretells its size, and its time once a rate was measured', async (t) => {
  const home = await homeBehind(t)
  const { world } = await worldOf(t, [])
  const told = async () => {
    const texts: string[] = []
    const emit = (event: Event) => {
      if (event.type === 'note') texts.push(event.text)
    }
    await firstBackup.act({ ...world, emit, configPath: join(home.dir, 'knox.yaml') })
    return texts
  }
  assert.deepEqual(await told(), [
    'about 0.98 KiB are to be sent; it can be stopped and goes on where it was',
  ])
  await rememberLink(home.folder, 10)
  assert.deepEqual(await told(), [
    'about 0.98 KiB are to be sent, 1 min 40 s at the measured 10 B/s; it can be stopped and goes on where it was',
  ])
})

describe('the schedule', () => {
  for (const [what, crontab, message] of [
    ['there is no crontab', undefined, /there is no crontab\(1\) here/],
    [
      'the user may have no crontab',
      'echo "you (ann) are not allowed to use this program" >&2; exit 1',
      /this user may not have a crontab/,
    ],
  ] as const)
    test(`where ${what} is a line that is printed, and the road goes on`, async (t) => {
      const { dir, world, ran } = await worldOf(t, ['3:15'])
      const bin = join(dir, 'bin')
      await mkdir(bin)
      if (crontab !== undefined) await writeProgram(bin, 'crontab', crontab)
      withEnv(t, { PATH: bin })
      const warnings: string[] = []
      const emit = (event: Event) => {
        if (event.type === 'warning') warnings.push(event.text)
      }
      // as the verb does it: it reads the crontab first, unless it only prints
      const run = async (words: readonly string[]) => {
        await world.owner.run(words)
        if (!words.includes('--print')) await runnerAt(HERE, ignore).read(readCrontab)
      }
      const here = { ...world, emit, owner: { ...world.owner, run } }
      assert.equal(await schedule.look(here), undefined)
      await schedule.act(here)
      assert.deepEqual(ran.at(-1), ['schedule', '--time', '3:15', '--print'])
      assert.match(warnings.join(), message)
      assert.equal(schedule.optional, true)
    })
})
