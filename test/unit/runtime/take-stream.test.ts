import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { ErrorCode } from '../../../provision/core/errors.ts'
import type { Send } from '../../../provision/runtime/plan.ts'
import { takeStream } from '../../../provision/runtime/take-stream.ts'
import type { Place } from '../../../provision/system/runner.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'

/** A stream of the box into zfs receive at home: whose fault it is that it did not arrive. */

const SEND: Send = {
  step: 'send',
  kind: 'full',
  dataset: 'wd/again',
  range: { dataset: 'bk/photos', from: undefined, to: 'a' },
}
const OPTIONS = { resumable: true, overwrite: false }

/** The box's end is a script in the place of ssh; home's zfs is another one. */
const taking = async (t: TestContext, send: string, receive: string, stalled = 60) => {
  const dir = await tempFolder(t)
  const ssh = await writeProgram(dir, 'ssh', send)
  await writeProgram(dir, 'zfs', receive)
  withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
  const place: Place = { name: 'knox', wrap: (argv) => [ssh, ...argv], failures: [] }
  return takeStream(place, SEND, OPTIONS, ignore, stalled)
}

const refuses = (text: string) => `head -c 1000 >/dev/null; echo 'cannot receive: ${text}' >&2; exit 1`
const INCOMPLETE = "cat >/dev/null; echo 'cannot receive: incomplete stream' >&2; exit 1"
/** as ssh does it: the end of the pipe is no signal, and its exit code is that of a lost connection */
const SSH_INTO_NOWHERE = "trap '' PIPE; cat /dev/zero 2>/dev/null; exit 255"

const FAILURES: readonly (readonly [string, string, string, ErrorCode, RegExp])[] = [
  ['a full pool at home', SSH_INTO_NOWHERE, refuses('out of space'), 'no-space', /at home for wd\/again/],
  ['a quota at home', 'exec cat /dev/zero', refuses('quota exceeded'), 'no-space', /no room at home/],
  [
    'a receive that fails',
    SSH_INTO_NOWHERE,
    refuses('destination has been modified'),
    'receive-failed',
    /modified/,
  ],
  [
    'a receive that fails, and whose end is told after that of ssh',
    SSH_INTO_NOWHERE,
    `head -c 1000 >/dev/null; exec 0<&-; sleep 0.5; echo 'cannot receive: invalid stream' >&2; exit 1`,
    'receive-failed',
    /invalid stream/,
  ],
  [
    'a receive that fails while the box sends nothing more',
    'head -c 5000 /dev/zero; exec sleep 50',
    refuses('invalid stream'),
    'receive-failed',
    /invalid stream/,
  ],
  [
    'a receive that fails after the last byte',
    'head -c 5000 /dev/zero',
    'cat >/dev/null; exit 1',
    'receive-failed',
    /failed at home/,
  ],
  [
    'a box that cannot send',
    'head -c 5000 /dev/zero; echo "cannot open: I/O error" >&2; exit 1',
    INCOMPLETE,
    'send-failed',
    /zfs send failed on knox for bk\/photos[^]*I\/O error/,
  ],
  ['a connection that breaks', 'head -c 5000 /dev/zero; exit 255', INCOMPLETE, 'connection-lost', /broke/],
]

describe('a stream that home takes', () => {
  for (const [title, send, receive, code, text] of FAILURES)
    test(`${title} is ${code}`, async (t) => {
      await assert.rejects(taking(t, send, receive), knoxError(code, text))
    })

  test('that does not move is given up, and neither end is left', async (t) => {
    const progress = String.raw`printf '12:00:00\t5000\tbk/photos@a\n' >&2`
    const started = Date.now()
    const work = taking(
      t,
      `head -c 5000 /dev/zero; while :; do ${progress}; sleep 0.2; done`,
      'exec cat >/dev/null',
      1,
    )
    await assert.rejects(
      work,
      knoxError('connection-lost', /did not answer for 1 s while it sent bk\/photos/),
    )
    assert.ok(Date.now() - started < 30_000)
  })

  test('is counted by what zfs send says', async (t) => {
    const progress = String.raw`printf '12:00:00\t5000\tbk/photos@a\n' >&2`
    assert.equal(await taking(t, `${progress}; head -c 5000 /dev/zero`, 'exec cat >/dev/null'), 5000)
  })
})
