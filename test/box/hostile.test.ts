import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { messageOf } from '../../provision/core/errors.ts'
import { KEY, missing, SHELLS, type Peer } from './box.ts'
import { assertCalls, assertUnharmed, callsOf, closedBox, inTime, replaceOnce } from './closed-box.ts'
import { diceOf, hostileCommand, hostileInputs, hostileStream, type Dice } from './hostile-inputs.ts'

/**
 * Thousands of hostile lines against the box's script, by a seed: KNOX_SEED=N repeats a run. The script can reach nothing but
 * the stand-ins, which write down their words, and the tools it is known to use.
 */

const SEED = Number(process.env['KNOX_SEED'] ?? Date.now() % 1_000_000)

/** of 10,000 inputs; `npm run faults` says them all */
const SHARE = Number(process.env['KNOX_HOSTILE_SHARE'] ?? 0.25)

/** how many inputs each shell gets, and how many of them go into one session */
const COUNTS: Readonly<Record<string, number>> = {
  ...{ dash: 2000 * SHARE, 'busybox ash': 6000 * SHARE },
  ...{ mksh: 1000 * SHARE, bash: 1000 * SHARE },
}
const IN_A_SESSION = 250
const AT_ONCE = 4
const LINE_SECONDS = 20

/** the one line without a tab that ends what the box says to a line */
const verdictOf = async (session: Peer): Promise<string | undefined> => {
  for (;;) {
    const line = await session.line()
    if (line === undefined || !line.includes('\t')) return line
  }
}

const VERDICT = /^(?:ok(?: [0-9a-f]+)?|end|ready|failed [a-z]+ [ -~]{0,300})$/

/** Says one line; the box must answer it with one verdict. A stream that it wants is given. */
const sayLine = async (session: Peer, line: string, dice: Dice): Promise<void> => {
  const shown = JSON.stringify(line.slice(0, 300))
  session.say(Buffer.from(`${line}\n`, 'latin1'))
  const verdict = await inTime(verdictOf(session), LINE_SECONDS, shown)
  assert.match(verdict ?? 'the end', VERDICT, `${shown} was answered by ${verdict ?? 'the end'}`)
  if (verdict !== 'ready') return
  session.say(hostileStream(dice))
  // refused: it has arrived, but its place is taken by what was said before
  const arrived = (await inTime(verdictOf(session), LINE_SECONDS, shown)) ?? 'the end'
  assert.match(arrived, /^(?:ok 777|failed refused cannot [ -~]+)$/, shown)
}

// busybox and bash tell of what they leave out of a line
const HARMLESS_STDERR = /^.*ignored null byte in input$/gm

/** One session with hostile lines, ended in one of three ways; returns how many lines were answered. */
const hostileSession = async (
  shell: readonly string[],
  seed: number,
  mutate?: (text: string) => string,
): Promise<number> => {
  const dice = diceOf(seed)
  const box = closedBox(shell, 1_000_000, mutate)
  try {
    const script = readFileSync(join(box.state, 'knox-zfs-receive.sh'), 'utf8')
    if (dice(2) === 0) box.flag('tokens')
    const isLocked = mutate === undefined && dice(5) === 0
    const session = isLocked ? box.session() : await box.unlocked()
    if (isLocked) await session.line()
    let stderr = ''
    session.child.stderr.setEncoding('latin1').on('data', (text: string) => (stderr += text))
    const lines = hostileInputs(dice, 2 * IN_A_SESSION)
      .flatMap((input) => input.split('\n'))
      // it would wait for a key
      .filter((line) => !isLocked || !/^[\t\0]*unlock[\t\0]*$/.test(line))
      .slice(0, IN_A_SESSION)
    for (const [n, line] of lines.entries()) {
      await sayLine(session, line, dice)
      if (n % 50 === 0) assertCalls(box)
    }
    const isBye = dice(3) > 0
    session.say(isBye ? 'bye\n' : 'bye')
    if (!isBye) session.child.stdin.end()
    assert.equal(await inTime(verdictOf(session), 30, 'bye'), 'locked')
    assert.equal(await inTime(session.ended, 30, 'the end'), isBye ? 0 : 1)
    assert.equal(stderr.replaceAll(HARMLESS_STDERR, '').trim(), '')
    await assertUnharmed(box, script)
    return lines.length
  } finally {
    box.remove()
  }
}

/** Everything at once, and the end of input: the box answers as long as it likes, and locks. */
const flood = async (shell: readonly string[], seed: number): Promise<void> => {
  const dice = diceOf(seed)
  const box = closedBox(shell)
  try {
    const script = readFileSync(join(box.state, 'knox-zfs-receive.sh'), 'utf8')
    const session = await box.unlocked()
    const inputs = [...hostileInputs(dice, 60)]
    inputs.splice(dice(40), 0, 'x\t'.repeat(dice(100_000)))
    session.say(Buffer.from(inputs.join('\n'), 'latin1'))
    session.child.stdin.end()
    let last: string | undefined
    let refusals = 0
    const read = async (): Promise<void> => {
      for (let line = await session.line(); line !== undefined; line = await session.line()) {
        if (/^failed usage (?!the disk is unlocked already)/.test(line)) refusals += 1
        last = line
      }
    }
    await inTime(read(), 60, 'the flood')
    assert.equal(last, 'locked')
    assert.ok(refusals <= 20, `${refusals} refusals`)
    assert.equal(await inTime(session.ended, 10, 'the end'), 1)
    await assertUnharmed(box, script)
  } finally {
    box.remove()
  }
}

/** Rewrites of the script that a hostile home would like; the tests must see each of them. */
const MUTANTS: Readonly<Record<string, readonly [string, string]>> = {
  'a line is evaluated': ['set -- $line', 'eval "set -- $line"'],
  'a snapshot counts as a dataset': ["letters='A-Za-z0-9_.: /-'", "letters='A-Za-z0-9_.: /@-'"],
  'a dataset above is taken': ['"$pool" | "$pool"/*) return 0', '*) return 0'],
  'the name of a place is not looked at': ['place | discard) if is_dataset "$2"', 'place | discard) if true'],
  'the name of a snapshot is not looked at': ["'' | *[!A-Za-z0-9_.:\\ -]*) return 1", "'') return 1"],
  'the disk stays open': ['if lock_disk; then\n    say locked', 'if true; then\n    say locked'],
}

for (const [name, shell] of SHELLS)
  describe(`hostile inputs, under ${name}`, { skip: missing(shell) }, () => {
    const isMain = (COUNTS[name] ?? 0) >= 2000 * SHARE

    test('lines: one verdict each, and no call, file or open disk that should not be', async (t) => {
      const wanted = COUNTS[name] ?? IN_A_SESSION
      const seeds = Array.from({ length: Math.ceil(wanted / IN_A_SESSION) }, (_, n) => SEED + n)
      t.diagnostic(`KNOX_SEED=${SEED}`)
      let answered = 0
      const work = async (): Promise<void> => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          const count = await hostileSession(shell, seed).catch((error: unknown) => {
            throw new Error(`KNOX_SEED=${String(seed)} under ${name}: ${messageOf(error)}`, { cause: error })
          })
          answered += count
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, work))
      t.diagnostic(`${answered} lines answered`)
      assert.ok(answered >= wanted, `${answered} of ${wanted}`)
    })

    test('a flood that does not wait for answers ends locked, in bounded time', async (t) => {
      t.diagnostic(`KNOX_SEED=${SEED}`)
      await Promise.all(Array.from({ length: isMain ? 6 : 2 }, (_, n) => flood(shell, SEED + n)))
    })

    test('keys of any bytes do not open the disk, nor keep the right one from it', async (t) => {
      t.diagnostic(`KNOX_SEED=${SEED}`)
      const dice = diceOf(SEED)
      const box = closedBox(shell)
      try {
        const script = readFileSync(join(box.state, 'knox-zfs-receive.sh'), 'utf8')
        const session = box.session()
        await session.line()
        const keys = [
          Buffer.alloc(0),
          Buffer.alloc(200_000, 'x'),
          Buffer.from(`${KEY}x`),
          Buffer.from(`x\n${KEY}`),
        ]
        for (const input of hostileInputs(dice, isMain ? 12 : 3))
          keys.push(Buffer.from(`x${input}`, 'latin1'))
        for (const bytes of keys) {
          session.say('unlock\n')
          assert.equal(await inTime(session.line(), 10, 'unlock'), 'waiting')
          await inTime(box.key(bytes), 10, 'the key')
          assert.match((await inTime(session.line(), 10, 'the key')) ?? '', /^failed key geli: Wrong key/)
          assert.equal(existsSync(join(box.state, 'dev/da0.eli')), false)
        }
        session.say('unlock\n')
        assert.equal(await session.line(), 'waiting')
        await box.key()
        assert.equal(await session.line(), 'unlocked')
        session.say('bye\n')
        assert.equal(await session.line(), 'locked')
        await assertUnharmed(box, script)
      } finally {
        box.remove()
      }
    })

    test('a command of ssh’s client is refused, whatever it says; so are other words', async (t) => {
      t.diagnostic(`KNOX_SEED=${SEED}`)
      const dice = diceOf(SEED)
      const box = closedBox(shell)
      try {
        const script = readFileSync(join(box.state, 'knox-zfs-receive.sh'), 'utf8')
        for (let n = 0; n < (isMain ? 60 : 10); n += 1) {
          const command = hostileCommand(dice)
          const isOther = dice(3) === 0
          const words = isOther ? [command] : [dice(2) === 0 ? 'session' : 'key']
          const peer = box.session(isOther ? {} : { SSH_ORIGINAL_COMMAND: command }, words)
          peer.say('unlock\nlist\nbye\n')
          assert.match((await inTime(peer.line(), 10, command)) ?? '', /^failed usage /, command)
          assert.equal(await inTime(peer.line(), 10, command), undefined)
          assert.equal(await inTime(peer.ended, 10, command), 64, command)
        }
        assert.deepEqual(callsOf(box), [])
        await assertUnharmed(box, script)
      } finally {
        box.remove()
      }
    })
  })

describe('hostile inputs show', { skip: missing(['dash']), concurrency: 3 }, () => {
  for (const [fault, [from, to]] of Object.entries(MUTANTS))
    test(`that ${fault}`, async () => {
      const mutate = (text: string) => replaceOnce(text, from, to)
      await assert.rejects(async () => {
        for (const seed of [1, 2, 3]) await hostileSession(['dash'], seed, mutate)
      })
    })
})
