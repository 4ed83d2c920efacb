import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'node:test'
import { missing, SHELLS, stream, testsUnder } from './box.ts'

const cksum = (bytes: Buffer): string => spawnSync('cksum', { input: bytes, encoding: 'utf8' }).stdout

for (const [name, shell] of SHELLS)
  describe(`the box’s script under ${name}`, { skip: missing(shell), concurrency: 8 }, () => {
    const withBox = testsUnder(shell)

    withBox('unlocks, lists, takes two streams exactly, and locks', async (box) => {
      const session = await box.unlocked()
      session.say('list\n')
      assert.equal(await session.line(), 'wd\tpool\t4242\t100\t1000\tWD-WX11A\t')
      assert.equal(await session.line(), 'wd\tfilesystem\t1\t1')
      assert.equal(await session.line(), 'end')
      const streams = [randomBytes(5000), Buffer.from('\n\0\nbye\n'.repeat(400))]
      for (const [index, bytes] of streams.entries()) {
        session.say(`receive\tfull\twd/with blanks ${index}\n`)
        assert.equal(await session.line(), 'ready')
        session.say(stream(bytes))
        assert.equal(await session.line(), 'ok 777')
      }
      assert.equal(readFileSync(join(box.state, 'sums'), 'utf8'), streams.map(cksum).join(''))
      assert.match(box.log(), /^zfs receive -u wd\/with blanks 1$/m)
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.equal(await session.ended, 0)
    })

    withBox('tells what ZFS says of a disk that begins to fail', async (box) => {
      box.flag('failing')
      const session = await box.unlocked()
      session.say('list\n')
      const trouble = (await session.line())?.split('\t')[6]
      assert.equal(
        trouble,
        "the pool is DEGRADED;da0.eli is DEGRADED, errors: 3 reading, 0 writing, 1.5K in checksums;2 data errors, use '-v' for a list",
      )
      session.child.stdin.end()
      while ((await session.line()) !== 'locked');
    })

    withBox('uses -F only where there is no snapshot, and refuses what is out of place', async (box) => {
      const session = await box.unlocked()
      session.say('receive\tincremental\twd\n')
      assert.match((await session.line()) ?? '', /^failed refused wd has no snapshot/)
      session.say('receive\tfull\twd\n')
      assert.equal(await session.line(), 'ready')
      session.say(stream(Buffer.from('x')))
      assert.equal(await session.line(), 'ok 777')
      session.say('receive\tfull\twd\n')
      assert.match((await session.line()) ?? '', /^failed refused wd has snapshots/)
      session.say('receive\tincremental\twd\n')
      assert.equal(await session.line(), 'ready')
      session.say(stream(Buffer.from('y')))
      assert.equal(await session.line(), 'ok 777')
      session.say('rename\twd/a\twd\n')
      assert.match((await session.line()) ?? '', /^failed refused wd is there already/)
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
      assert.deepEqual(box.log().match(/^zfs receive.*$/gm), ['zfs receive -u -F wd', 'zfs receive -u wd'])
    })

    withBox('a wrong key, no key, and a disk that cannot be attached each have their reason', async (box) => {
      const session = box.session()
      await session.line()
      session.say('unlock\n')
      assert.equal(await session.line(), 'waiting')
      await box.key('another key')
      assert.equal(await session.line(), 'failed key geli: Wrong key for da0.')
      session.say('unlock\n')
      assert.equal(await session.line(), 'waiting')
      assert.equal(await session.line(), 'failed key no key came within 12 seconds')
      box.flag('fail-attach')
      session.say('unlock\n')
      assert.equal(await session.line(), 'waiting')
      const [said, writer] = await Promise.all([session.line(), box.key()])
      assert.match(said ?? '', /^failed disk geli: Cannot read metadata/)
      assert.notEqual(writer.status, null)
      session.say('bye\n')
      assert.equal(await session.line(), 'locked')
    })

    withBox('a pool that cannot be imported leaves the disk detached', async (box) => {
      box.flag('fail-import')
      const session = box.session()
      await session.line()
      session.say('unlock\n')
      await session.line()
      await box.key()
      assert.match((await session.line()) ?? '', /^failed pool cannot import/)
      session.child.stdin.end()
      assert.equal(await session.line(), 'locked')
      assert.equal(await session.ended, 1)
    })

    withBox('a key where nobody waits is refused, and does not wait itself (S6)', async (box) => {
      assert.deepEqual(await box.key(), { status: 1, stdout: 'failed key nobody waits for a key' })
    })

    withBox('the end of input locks at every point', async (box) => {
      for (const until of ['hello', 'waiting', 'unlocked', 'ready', 'mid-stream']) {
        const session = until === 'hello' || until === 'waiting' ? box.session() : await box.unlocked()
        if (until === 'hello' || until === 'waiting') await session.line()
        if (until === 'waiting') session.say('unlock\n')
        if (until === 'ready' || until === 'mid-stream') session.say(`receive\tfull\twd/${until}\n`)
        if (until === 'mid-stream') session.say('000100only a few bytes')
        session.child.stdin.end()
        let last: string | undefined
        for (let line = await session.line(); line !== undefined; line = await session.line()) last = line
        assert.equal(last, 'locked', until)
        assert.equal(await session.ended, 1)
      }
    })

    withBox(
      'one session at a time; the lock of a dead one is taken over',
      async (box) => {
        const first = box.session()
        await first.line()
        const second = box.session()
        assert.equal(await second.line(), 'failed busy another session is under way')
        assert.equal(await second.ended, 75)
        first.say('bye\n')
        assert.equal(await first.line(), 'locked')
        await first.ended
        box.flag('run/session', '999999\n')
        const third = box.session()
        assert.equal(await third.line(), 'knox 1 knox locked')
        third.say('bye\n')
        await third.ended
      },
      name === 'busybox ash' && 'the ps inside busybox knows no -p, and its ash takes no other',
    )

    withBox(
      'a disk left unlocked by a crash is locked before it is unlocked, its stale pipe removed (facts 11.4)',
      async (box) => {
        for (const file of ['dev/da0.eli', 'imported', 'run/key']) box.flag(file)
        rmSync(join(box.state, 'run/key'))
        spawnSync('mkfifo', [join(box.state, 'run/key')])
        const session = box.session()
        assert.equal(await session.line(), 'knox 1 knox unlocked')
        session.say('unlock\n')
        assert.equal(await session.line(), 'waiting')
        await box.key()
        assert.equal(await session.line(), 'unlocked')
        session.say('bye\n')
        assert.equal(await session.line(), 'locked')
      },
    )

    withBox('an export that hangs is forced, in bounded time', async (box) => {
      const session = await box.unlocked()
      box.flag('hang-export')
      session.say('bye\n')
      assert.match((await session.line()) ?? '', /^failed lock da0 could not be detached/)
      assert.equal(await session.ended, 3)
      rmSync(join(box.state, 'imported'))
    })

    withBox('never says locked while the disk is attached', async (box) => {
      const session = await box.unlocked()
      box.flag('fail-detach')
      rmSync(join(box.state, 'last'))
      session.say('bye\n')
      assert.match((await session.line()) ?? '', /^failed lock da0 could not be detached; the box restarts$/)
      assert.equal(await session.ended, 3)
      assert.match(box.log(), /geli detach -f da0\n[^]*reboot -q\n/)
      rmSync(join(box.state, 'dev/da0.eli'))
    })

    withBox(
      'a failed receive says why, locks, and ends: never the status of the export (S1, facts 11.1)',
      async (box) => {
        for (const [text, reason] of [
          ['cannot receive new filesystem stream: out of space\n', 'space'],
          ['cannot receive incremental stream: checksum mismatch\n', 'receive'],
        ] as const) {
          box.flag('fail-receive', text)
          const session = await box.unlocked()
          session.say('receive\tfull\twd/x\n')
          assert.equal(await session.line(), 'ready')
          session.say(stream(Buffer.from('unlock\n'.repeat(50))))
          assert.match((await session.line()) ?? '', new RegExp(`^failed ${reason} cannot receive`))
          assert.equal(await session.line(), 'locked')
          assert.equal(await session.ended, 1)
        }
      },
    )

    withBox('survives a dead reader of its output', async (box) => {
      const session = await box.unlocked()
      session.child.stdout.destroy()
      session.child.stderr.destroy()
      session.say('list\nlist\nbye\n')
      assert.notEqual(await session.ended, null)
    })

    withBox('hostile words get a refusal and reach no program', async (box) => {
      const commanded = box.session({ SSH_ORIGINAL_COMMAND: 'sh -c id' })
      assert.equal(await commanded.line(), 'failed usage no command is taken here')
      assert.equal(await commanded.ended, 64)
      const names = [
        'wd;id',
        'wd/$(id)',
        'wd/`id`',
        "wd/'",
        'wd/*',
        '-F',
        'wd/../tank',
        'wd/..',
        'wd@x',
        'wd#x',
        'wd/%recv',
        'tank',
        'wdx',
        'wd/',
        'wd//x',
        `wd/${'x'.repeat(300)}`,
        'wd/\u00fc',
        '',
      ]
      const session = await box.unlocked()
      for (const bad of names.slice(0, 18)) {
        session.say(`receive\tfull\t${bad}\n`)
        assert.match((await session.line()) ?? '', /^failed usage/, bad)
      }
      session.child.stdin.end()
      for (let line = await session.line(); line !== undefined; line = await session.line())
        assert.doesNotMatch(line, /ready|ok/)
      assert.doesNotMatch(box.log(), /receive -u|tank|id\b/)
    })

    withBox('streams of no kind are counted as refusals, and end the session', async (box) => {
      const session = await box.unlocked()
      session.say('receive\tfull -F\twd\n'.repeat(100))
      let refusals = 0
      for (let line = await session.line(); line !== 'locked'; line = await session.line()) {
        assert.match(line ?? 'the end', /^failed usage receive full, incremental or resume/)
        refusals += 1
      }
      assert.equal(refusals, 20)
      assert.equal(await session.ended, 1)
    })

    withBox('an endless line and a flood of lines end the session', async (box) => {
      const long = box.session()
      await long.line()
      long.say(`${'x'.repeat(100_000)}\n`)
      assert.equal(await long.line(), 'failed usage the line is too long')
      long.say('destroy\twd\n'.repeat(100))
      let refusals = 0
      for (let line = await long.line(); line !== undefined && line !== 'locked'; line = await long.line())
        refusals += 1
      assert.ok(refusals < 25, `${refusals} answers`)
      assert.equal(await long.ended, 1)
      await sleep(10)
    })
  })

test(
  'shellcheck finds nothing',
  {
    skip: spawnSync('shellcheck', ['--version']).error === undefined ? false : 'shellcheck is not installed',
  },
  () => {
    const script = readFileSync(
      new URL('../../templates/knox-zfs-receive.sh.hbs', import.meta.url),
      'utf8',
    ).replaceAll(/\{\{(\w+)\}\}/g, '$1')
    const { stdout, status } = spawnSync('shellcheck', ['-s', 'sh', '-'], { input: script, encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  },
)
