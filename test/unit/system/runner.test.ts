import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Change, Read } from '../../../provision/core/command.ts'
import type { Event } from '../../../provision/core/events.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { dryRunner, failureOf, HERE, runnerAt, type Place } from '../../../provision/system/runner.ts'
import { SSH_FAILURES } from '../../../provision/tools/ssh.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'

const change = (script: string, more: Partial<Change> = {}): Change => ({
  effect: 'change',
  argv: ['sh', '-c', script],
  ...more,
})

/** A far end that is this machine: the wrapper plays ssh, which hands on the exit code. */
const there: Place = { name: 'knox', wrap: (argv) => ['env', ...argv], failures: SSH_FAILURES }

const ignore = () => undefined

describe('a runner', () => {
  test('reads: what the parser makes of stdout, and nothing of stderr', async () => {
    const read: Read<string> = {
      effect: 'read',
      argv: ['sh', '-c', 'cat; echo noise >&2'],
      stdin: 'in',
      parse: (s) => `<${s}>`,
    }
    assert.equal(await runnerAt(HERE, ignore).read(read), '<in>')
  })

  test('a command that fails is an error with its words, whatever it printed before', async () => {
    const runner = runnerAt(HERE, ignore)
    const half: Read<string> = {
      effect: 'read',
      argv: ['sh', '-c', 'echo half; echo why >&2; exit 1'],
      parse: (s) => s,
    }
    await assert.rejects(runner.read(half), knoxError('failed', /exit 1.*it said: why/s))
    await assert.rejects(runner.act(change('kill -KILL $$')), knoxError('failed', /SIGKILL/))
    await assert.rejects(
      runner.act({ effect: 'change', argv: ['knox-nonesuch'] }),
      knoxError('platform', /not installed here/),
    )
    await assert.rejects(runnerAt(HERE, ignore, 0.2).act(change('sleep 5')), knoxError('failed', /SIGKILL/))
  })

  test('the first rule that knows the text on stderr names the error', async () => {
    const failures = [
      { pattern: /no space/, code: 'no-space', message: 'full', hints: ['larger disk'] },
      { pattern: /no/, code: 'busy', message: 'later' },
    ] as const
    const runner = runnerAt(HERE, ignore)
    const error = await thrownBy(() => runner.act(change('echo "no space left" >&2; exit 1', { failures })))
    assert.ok(knoxError('no-space', /^full\nlarger disk\nit said: no space left$/)(error))
    await assert.rejects(runner.act(change('echo no >&2; exit 1', { failures })), knoxError('busy'))
    // only what failed is looked at: words of a command that worked mean nothing
    await runner.act(change('echo "no space left" >&2', { failures }))
  })

  test('no control character of stderr reaches the terminal, and not more than its last lines', async () => {
    const script = 'for n in 1 2 3 4 5 6; do printf "l$n\\033[2J\\n" >&2; done; exit 1'
    const error = await thrownBy(() => runnerAt(HERE, ignore).act(change(script)))
    assert.ok(knoxError('failed', /it said: l4\?\[2J \/ l5\?\[2J \/ l6\?\[2J$/)(error))
  })

  test('at the far end a broken connection is told as that, though the command has rules of its own', async () => {
    const failures = [{ pattern: /^/, code: 'disk', message: 'no disk' }] as const
    const runner = runnerAt(there, ignore)
    const broken = 'echo "Connection closed by 192.0.2.1 port 22" >&2; exit 255'
    await assert.rejects(runner.act(change(broken, { failures })), knoxError('unreachable'))
    await assert.rejects(runner.act(change('exit 3', { failures })), knoxError('disk'))
    await assert.rejects(runner.act(change('exit 255')), knoxError('connection-lost', /to knox broke/))
    await assert.rejects(runnerAt(HERE, ignore).act(change('exit 255')), knoxError('failed', /exit 255/))
  })

  test('at the far end the words of a command are never taken for ssh’s, and a missing program is missing there', async () => {
    const runner = runnerAt(there, ignore)
    await assert.rejects(
      runner.act(change('echo "rm: x: Permission denied" >&2; exit 1')),
      knoxError('failed', /Permission/),
    )
    await assert.rejects(
      runner.act({ effect: 'change', argv: ['knox-nonesuch'] }),
      knoxError('platform', /not installed on knox/),
    )
  })

  test('each command is told before it runs, as it was written and without its stdin', async () => {
    const events: Event[] = []
    const secret = new Secret('disk key', 'k3y bytes')
    await runnerAt(there, (event) => events.push(event)).act(change('cat >/dev/null', { stdin: secret }))
    assert.deepEqual(events, [{ type: 'command', argv: ['sh', '-c', 'cat >/dev/null'], where: 'knox' }])
    const error = await thrownBy(() =>
      runnerAt(HERE, ignore).act(change('cat >/dev/null; exit 1', { stdin: secret })),
    )
    assert.ok(!JSON.stringify(error, Object.getOwnPropertyNames(error)).includes('k3y'))
  })

  test('a dry one reads, and shows every change instead of making it', async () => {
    const shown: Change[] = []
    const dry = dryRunner(runnerAt(HERE, ignore), (one) => shown.push(one))
    const fatal = change('exit 1')
    await dry.act(fatal)
    assert.deepEqual(shown, [fatal])
    assert.equal(await dry.read({ effect: 'read', argv: ['echo', 'real'], parse: (s) => s }), 'real\n')
  })

  test('a process that could not be started at all is a missing program', () => {
    const result = { argv: ['ssh', 'box'], exitCode: 127, signal: null, stderr: 'spawn ssh ENOENT' }
    assert.ok(knoxError('platform', /^ssh is not installed here/)(failureOf(result, [])))
  })
})
