import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { missing, SHELLS, stream, testsUnder } from './box.ts'

/** A whole stream onto a place that has others below it. */

for (const [name, shell] of SHELLS)
  describe(`a place, under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)

    withBox(
      'with snapshots below it is filled without -F: a stream of send -R could destroy them',
      async (box) => {
        const before = 'wd\nwd/a\nwd/a/kid\nwd/a/kid/grandchild\nwd/a b\n'
        box.flag('datasets', before)
        box.flag('snapshots', 'wd/a/kid@1\nwd/a/kid/grandchild@1\nwd/a b@1\n')
        const session = await box.unlocked()
        session.say('receive\tfull\twd\n')
        assert.match((await session.line()) ?? '', /^failed refused .*below it/)
        session.say('receive\tfull\twd/a\n')
        assert.equal(await session.line(), 'ready')
        session.say(stream(Buffer.from('x')))
        assert.equal(await session.line(), 'ok 777')
        session.say('bye\n')
        assert.equal(await session.line(), 'locked')
        assert.deepEqual(box.log().match(/^zfs receive.*$/gm), ['zfs receive -u wd/a.knox-arriving'])
        const sorted = (file: string) => readFileSync(join(box.state, file), 'utf8').trim().split('\n').sort()
        assert.deepEqual(sorted('datasets'), before.trim().split('\n').sort())
        assert.deepEqual(sorted('snapshots'), [
          'wd/a b@1',
          'wd/a/kid/grandchild@1',
          'wd/a/kid@1',
          'wd/a@snapshot',
        ])
      },
    )

    withBox('what came beside its place, and was not put there, is put there first', async (box) => {
      box.flag('datasets', 'wd\nwd/a\nwd/a/kid\nwd/a.knox-arriving\n')
      box.flag('snapshots', 'wd/a/kid@1\nwd/a.knox-arriving@snapshot\n')
      const session = await box.unlocked()
      box.flag('fail-rename', 'wd/a.knox-arriving')
      session.say('receive\tfull\twd/a\n')
      assert.match((await session.line()) ?? '', /^failed refused cannot rename .* busy/)
      assert.match(readFileSync(join(box.state, 'datasets'), 'utf8'), /^wd\/a\.knox-place\/kid$/m)
      // home moves them by their guids, as it would after any rename
      rmSync(join(box.state, 'fail-rename'))
      session.say('rename\twd/a.knox-place\twd/a\n')
      assert.equal(await session.line(), 'ok')
      session.say('receive\tfull\twd/a\n')
      assert.match((await session.line()) ?? '', /^failed refused wd\/a came before/)
      assert.equal(
        readFileSync(join(box.state, 'snapshots'), 'utf8').split('\n').sort().join(' ').trim(),
        'wd/a/kid@1 wd/a@snapshot',
      )
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.doesNotMatch(box.log(), /^zfs receive/m)
    })
  })
