import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { missing, SHELLS, stream, testsUnder, type Peer, type TestBox } from './box.ts'

const ask = async (session: Peer, ...words: readonly string[]): Promise<string> => {
  session.say(`${words.join('\t')}\n`)
  return (await session.line()) ?? ''
}

const textOf = (box: TestBox, name: string): string => {
  const path = join(box.state, name)
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

const receive = async (session: Peer, dataset: string): Promise<void> => {
  session.say(`receive\tfull\t${dataset}\n`)
  assert.equal(await session.line(), 'ready')
  session.say(stream(Buffer.from('x')))
  assert.equal(await session.line(), 'ok 777')
}

const names = (set: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${set}@s${n + 1}`)

const TODAY = new Date().toISOString().slice(0, 10).replaceAll('-', '')

for (const [name, shell] of SHELLS)
  describe(`what the box keeps and tells, under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)
    const bye = async (session: Peer) => {
      assert.equal(await ask(session, 'bye'), 'locked')
      assert.equal(await session.ended, 0)
    }

    withBox(
      'a session that has taken a stream holds the newest of each dataset, as that of the day',
      async (box) => {
        const session = await box.unlocked()
        await receive(session, 'wd/two words')
        await bye(session)
        assert.equal(textOf(box, 'held'), 'wd/two words@snapshot\n')
        assert.equal(textOf(box, 'marks'), `wd/two words@snapshot\t${TODAY}\n`)
        const again = await box.unlocked()
        writeFileSync(join(box.state, 'snapshots'), 'wd/two words@snapshot\nwd/two words@later\n')
        await receive(again, 'wd/other')
        await bye(again)
        assert.deepEqual(textOf(box, 'held').trim().split('\n').sort(), [
          'wd/other@snapshot',
          'wd/two words@later',
          'wd/two words@snapshot',
        ])
        assert.match(textOf(box, 'marks'), /^wd\/two words@later\tnewest$/m)
      },
    )

    withBox('one that has taken none looks at no snapshot', async (box) => {
      const session = await box.unlocked()
      await bye(session)
      assert.doesNotMatch(box.log(), /zfs (hold|get|set)/)
    })

    withBox('holds that hang do not keep the disk open', async (box) => {
      box.flag('hang-hold')
      const session = await box.unlocked()
      await receive(session, 'wd/a')
      await bye(session)
    })

    withBox('destroys what is neither the newest nor an anchor, as often as a day allows', async (box) => {
      writeFileSync(join(box.state, 'datasets'), 'wd\nwd/a\n')
      writeFileSync(join(box.state, 'snapshots'), `${names('wd/a', 40).join('\n')}\n`)
      writeFileSync(join(box.state, 'held'), 'wd/a@s3\n')
      writeFileSync(join(box.state, 'marks'), 'wd/a@s3\t20200101\n')
      const session = await box.unlocked()
      assert.equal(await ask(session, 'destroy', 'wd/a', 's1', 's2'), 'ok')
      assert.match(await ask(session, 'destroy', 'wd/a', 's3'), /^failed refused .*being held/)
      assert.match(
        await ask(session, 'destroy', 'wd/a', 's4', 's40'),
        /^failed refused wd\/a@s40 is the newest/,
      )
      assert.match(await ask(session, 'destroy', 'wd/a', 's4,s5'), /^failed usage not a snapshot/)
      assert.match(await ask(session, 'destroy', 'wd/a', 's4%s9'), /^failed usage not a snapshot/)
      assert.match(await ask(session, 'destroy', 'tank', 's4'), /^failed usage not a dataset/)
      assert.match(await ask(session, 'destroy', 'wd/a'), /^failed usage not a verb/)
      const many = Array.from({ length: 18 }, (_, n) => `s${n + 5}`)
      assert.match(await ask(session, 'destroy', 'wd/a', ...many), /^failed limit no more than 20 /)
      assert.equal(await ask(session, 'destroy', 'wd/a', ...many.slice(1)), 'ok')
      await bye(session)
      // 2 and the held one and 17
      assert.equal(textOf(box, 'spent'), `${TODAY}:20:20\n`)
      assert.equal(textOf(box, 'snapshots').split('\n').length - 1, 40 - 19)
      assert.match(textOf(box, 'held'), /^wd\/a@s40$/m)
      const next = await box.unlocked()
      assert.match(await ask(next, 'destroy', 'wd/a', 's30'), /^failed limit/)
      writeFileSync(join(box.state, 'spent'), '20200101:20:20\n')
      assert.equal(await ask(next, 'destroy', 'wd/a', 's30'), 'ok')
      // a clock that was ahead gives nothing back
      writeFileSync(join(box.state, 'spent'), '29990101:20:20\n')
      assert.match(await ask(next, 'destroy', 'wd/a', 's31'), /^failed limit .*since 29990101/)
      // what was spent cannot be read: nothing may be spent
      box.flag('fail-get')
      writeFileSync(join(box.state, 'spent'), `${TODAY}:20:20\n`)
      assert.match(await ask(next, 'destroy', 'wd/a', 's31'), /^failed refused/)
      rmSync(join(box.state, 'fail-get'))
      for (const odd of [
        'x:1:9',
        '20200101:1',
        `${TODAY}:0:9999999999999999999999`,
        `${TODAY}:-5:20`,
        '::',
      ]) {
        writeFileSync(join(box.state, 'spent'), `${odd}\n`)
        assert.match(await ask(next, 'destroy', 'wd/a', 's31'), /^failed refused/, odd)
      }
      await bye(next)
    })

    withBox('tells the SHA-256 of a file of a snapshot, and follows no link', async (box) => {
      const files = join(box.state, 'files')
      mkdirSync(join(files, 'a b'), { recursive: true })
      for (const file of ['a b/cat', 'new\nline ', 'tab\tü\\n', '-n'])
        writeFileSync(join(files, file), 'meow')
      symlinkSync('/etc', join(files, 'etc'))
      symlinkSync('a b/cat', join(files, 'link'))
      writeFileSync(join(box.state, 'snapshots'), 'wd@s 1\n')
      const sum = execFileSync('sha256sum', { input: 'meow', encoding: 'utf8' }).slice(0, 64)
      const session = await box.unlocked()
      assert.match(await ask(session, 'look', 'wd', 'none'), /^failed refused there is no such/)
      assert.match(await ask(session, 'look', 'wd', 's 1; id'), /^failed refused there is no such/)
      assert.match(await ask(session, 'hash', 'a b/cat'), /^failed missing/)
      assert.equal(await ask(session, 'look', 'wd', 's 1'), 'ok')
      for (const path of ['a b/cat', 'new\\0012line ', 'tab\\0011\\0303\\0274\\0134n', '-n'])
        assert.equal(await ask(session, 'hash', path), `ok ${sum}`, path)
      for (const path of ['etc/passwd', 'link', 'a b', 'nothing', '$(id)', '`id`'])
        assert.match(await ask(session, 'hash', path), /^failed missing/, path)
      for (const path of ['../log', 'a b/../../log', '/etc/passwd', '', '.', 'a b//cat'])
        assert.match(await ask(session, 'hash', path), /^failed usage/, path)
      assert.equal(await ask(session, 'look', 'wd', 's 1'), 'ok')
      await bye(session)
      assert.equal(existsSync(join(box.state, 'run', 'look')), false)
    })

    withBox('scrubs within a lease: when it is over the box locks itself (facts 11.20)', async (box) => {
      const session = await box.unlocked()
      for (const words of ['', '-1', '100000', '5x'])
        assert.match(await ask(session, 'scrub', words), /^failed usage/)
      assert.equal(await ask(session, 'scrub', '600'), 'ok')
      assert.equal(await ask(session, 'scrub', '3'), 'ok')
      session.say('health\n')
      const lines: (string | undefined)[] = []
      for (let line = await session.line(); line !== 'end'; line = await session.line()) lines.push(line)
      assert.ok(lines.includes('health\t  scan: scrub in progress since Tue Nov 24 01:00:00 2026'))
      assert.ok(lines.includes('health\t\tNAME        STATE     READ WRITE CKSUM'))
      const busy = setInterval(() => session.say('stay\n'), 1000)
      for (let line = await session.line(); line !== undefined;) line = await session.line()
      clearInterval(busy)
      assert.notEqual(await session.ended, 0)
    })

    withBox('pauses the scrub before it locks, and says why one cannot begin', async (box) => {
      const session = await box.unlocked()
      assert.equal(await ask(session, 'scrub', '600'), 'ok')
      // seen on 13.2 with a small pool: the one under way ends between the refusal and the look at it
      box.flag('ending-scrub')
      assert.equal(await ask(session, 'scrub', '600'), 'ok')
      await bye(session)
      assert.equal(existsSync(join(box.state, 'scrubbing')), false)
      box.flag('fail-scrub')
      const next = await box.unlocked()
      assert.match(await ask(next, 'scrub', '600'), /^failed disk cannot scrub wd/)
      await bye(next)
    })
  })
