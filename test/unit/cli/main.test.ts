import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { EXIT_CODES, KnoxError, type ExitName } from '../../../provision/core/errors.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { tempFolder, withEnv } from '../../support/expect.ts'
import { show, verb } from '../../support/terminal.ts'

const nothing = verb(() => undefined)

// eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- some code does
const rejectWord = () => Promise.reject('a word')

describe('the command line', () => {
  test('without a verb shows the verbs and ends with 2, with --help the same and 0', async () => {
    const alone = await show([nothing])
    assert.deepEqual([alone.code, alone.stderr], [2, ''])
    for (const words of [['--help'], ['-h'], ['help'], ['--help', 'try']]) {
      const { code, stdout, stderr } = await show([nothing], ...words)
      assert.deepEqual([code, stdout, stderr], [0, alone.stdout, ''])
    }
    assert.match(alone.stdout, /^ {2}try +tries something$/m)
    for (const exit of Object.values(EXIT_CODES))
      assert.match(alone.stdout, new RegExp(`^ +${exit} {2}\\S`, 'm'))
  })

  test('says which version it is', async () => {
    const { code, stdout, stderr } = await show([nothing], '--version')
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^knox [0-9]+\.[0-9]+\.[0-9]+, node [0-9.]+\n$/)
  })

  test('what it does not know ends with 2, on stderr, with the way to the help', async () => {
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['tyr'], /there is no verb "tyr"\n.*knox --help/],
      [['--json'], /there is no verb "--json"/],
      [[''], /there is no verb ""/],
      [['__proto__'], /there is no verb/],
      [['try', '--fast'], /unknown option '--fast'\n.*knox try --help/],
      [['try', '-x'], /unknown option '-x'/],
      [['try', 'more'], /unexpected argument 'more'/],
      [['try', '--', '--yes'], /unexpected argument '--yes'/],
      [['try', '--config'], /--config/],
      [['try', '--config='.slice(0, -1), '--yes'], /--config/],
      [['try', '--yes=no'], /--yes/],
      [['try', '--dryrun'], /unknown option/],
    ]
    for (const [words, text] of cases) {
      const { code, stdout, stderr } = await show([verb(() => assert.fail('it ran'))], ...words)
      assert.deepEqual([code, stdout], [2, ''], words.join(' '))
      assert.match(stderr, /^knox: error: .*\nknox: hint: /)
      assert.match(stderr, text)
    }
  })

  test('--help of a verb shows its own options and those of all verbs, and runs nothing', async () => {
    const own = verb(() => assert.fail('it ran'), {
      positionals: 'a|b',
      details: 'In more words.',
      options: {
        fast: { type: 'boolean', help: 'be fast' },
        out: { type: 'string', value: 'DIR', help: 'where to' },
      },
    })
    for (const words of [['--help'], ['-h'], ['a', '--fast', '--help']]) {
      const { code, stdout } = await show([own], 'try', ...words)
      assert.equal(code, 0)
      for (const text of [
        'knox try a|b [options]',
        'In more words.',
        '--fast',
        '--out DIR',
        '--config FILE',
        '--dry-run',
        '--json',
      ])
        assert.ok(stdout.includes(text), text)
    }
  })

  test('flags, values and words reach the verb', async () => {
    let seen: unknown
    const look = verb(
      (knox) => {
        const { args, positionals, dryRun, json, interactive } = knox
        seen = [
          args.flag('fast'),
          args.flag('yes'),
          args.text('out'),
          args.text('fast'),
          positionals,
          dryRun,
          json,
          interactive,
        ]
      },
      {
        positionals: 'WORD',
        options: { fast: { type: 'boolean', help: '' }, out: { type: 'string', help: '' } },
      },
    )
    await show([look], 'try', '--fast', '--out', 'a b', 'one', '--dry-run', 'two', '--json')
    assert.deepEqual(seen, [true, false, 'a b', undefined, ['one', 'two'], true, true, false])
  })
})

describe('the end of a verb', () => {
  test('is the exit code of what it returns, and 0 if it returns nothing', async () => {
    for (const [name, code] of Object.entries(EXIT_CODES))
      assert.equal((await show([verb(() => name as ExitName)], 'try')).code, code)
    assert.equal((await show([nothing], 'try')).code, 0)
  })

  test('by an error is its exit code, its sentence and its hints on stderr; no stack', async () => {
    for (const [name, code] of Object.entries(EXIT_CODES)) {
      if (name === 'ok') continue
      const failing = verb(() =>
        Promise.reject(new KnoxError(name as 'failed', 'it broke', ['mend it', 'or not'])),
      )
      const { code: ended, stdout, stderr } = await show([failing], 'try')
      assert.deepEqual([ended, stdout], [code, ''])
      assert.equal(stderr, 'knox: error: it broke\nknox: hint: mend it\nknox: hint: or not\n')
    }
  })

  test('by a bug is 1, with its stack', async () => {
    const { code, stderr } = await show([verb(() => Promise.reject(new TypeError('oops')))], 'try')
    assert.equal(code, 1)
    assert.match(stderr, /^knox: error: oops\nknox: hint: this is a bug .*\nTypeError: oops\n +at /)
    const odd = await show([verb(rejectWord)], 'try')
    assert.deepEqual([odd.code, odd.stderr.split('\n')[0]], [1, 'knox: error: a word'])
  })

  test('with KNOX_DEBUG=1 shows the stack of every error', async (t) => {
    withEnv(t, { KNOX_DEBUG: '1' })
    const { stderr } = await show([verb(() => Promise.reject(new KnoxError('busy', 'later')))], 'try')
    assert.match(stderr, /KnoxError: later\n +at /)
  })

  test('with --json is one line of JSON on stderr, for wrong words too', async () => {
    const failing = verb(() => Promise.reject(new KnoxError('no-space', 'full', ['larger disk'])))
    const { code, stdout, stderr } = await show([failing], 'try', '--json')
    assert.deepEqual([code, stdout], [18, ''])
    assert.deepEqual(JSON.parse(stderr), {
      type: 'error',
      code: 'no-space',
      message: 'full',
      hints: ['larger disk'],
    })
    const bug = await show([verb(() => Promise.reject(new TypeError('oops')))], 'try', '--json')
    assert.deepEqual(JSON.parse(bug.stderr), { type: 'error', code: 'failed', message: 'oops', hints: [] })
    for (const words of [
      ['try', '--fast', '--json'],
      ['tyr', '--json'],
    ])
      assert.equal((JSON.parse((await show([nothing], ...words)).stderr) as { code: string }).code, 'usage')
  })
})

describe('what a verb says', () => {
  test('results go to stdout, all else to stderr', async () => {
    const talk = verb((knox) => {
      knox.emit({ type: 'step', title: 'working' })
      knox.emit({ type: 'warning', text: 'careful', hint: 'look' })
      knox.result('the result', { value: 1 })
    })
    const text = await show([talk], 'try')
    assert.deepEqual(
      [text.stdout, text.stderr],
      ['the result\n', 'working ...\nknox: warning: careful\nknox: hint: look\n'],
    )
    const json = await show([talk], 'try', '--json')
    assert.equal(json.stdout, '{"value":1}\n')
    const events = json.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    assert.deepEqual(events, [
      { type: 'step', title: 'working' },
      { type: 'warning', text: 'careful', hint: 'look' },
    ])
  })

  test('holds no control character, wherever it came from', async () => {
    const evil = 'a\u001b[2Jb\r\u009b31m\u0007\u202e'
    const talk = verb((knox) => {
      for (const type of ['step', 'done'] as const) knox.emit({ type, title: evil })
      knox.emit({ type: 'note', text: evil })
      knox.emit({ type: 'warning', text: evil, hint: evil })
      knox.emit({ type: 'command', argv: ['echo', evil], where: 'home' })
      knox.emit({ type: 'progress', dataset: evil, bytes: 1, of: 2, totalBytes: 1, totalOf: 2, seconds: 100 })
      throw new KnoxError('failed', evil, [evil])
    })
    const { stderr } = await show([talk], 'try', '--verbose')
    const bug = await show([verb(() => Promise.reject(new Error(evil)))], 'try')
    const unknown = await show([nothing], evil)
    const flag = await show([nothing], 'try', `--${evil}`)
    for (const text of [stderr, bug.stderr, unknown.stderr, flag.stderr]) {
      assert.ok(text.includes('a'))
      assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\u202e]/u)
    }
    assert.equal(stderr.trim().split('\n').length, 8)
  })
})

describe('questions, where nobody sits at a terminal', () => {
  test('a confirmation is refused with 4 and the way out, and given by --yes', async () => {
    let done = 0
    const ask = verb(async (knox) => {
      await knox.confirm('everything will be lost; go on?')
      done += 1
    })
    const { code, stderr } = await show([ask], 'try')
    assert.deepEqual([code, done], [4, 0])
    assert.match(stderr, /everything will be lost.*--yes/s)
    assert.deepEqual([(await show([ask], 'try', '--yes')).code, done], [0, 1])
  })

  test('a passphrase is refused with 4, and taken from --passphrase-file: its first line, as it is', async (t) => {
    const file = join(await tempFolder(t), 'pass')
    const seen: Secret[] = []
    const ask = verb(
      async (knox) => {
        seen.push(await knox.passphrase('passphrase of the keys'))
        knox.result(String(seen[0]), { passphrase: seen[0] })
      },
      { options: { 'passphrase-file': { type: 'string', help: '' } } },
    )
    const { code, stderr } = await show([ask], 'try')
    assert.equal(code, 4)
    assert.match(stderr, /--passphrase-file/)
    const cases = [
      ['correct horse', 'correct horse'],
      ['correct horse\n', 'correct horse'],
      ['correct horse\r\nmore\n', 'correct horse'],
      [' a b \n', ' a b '],
      ['grün\n', 'grün'],
    ]
    for (const [text = '', expected] of cases) {
      await writeFile(file, text)
      const shown = await show([ask], 'try', '--json', '--passphrase-file', file)
      assert.equal(shown.code, 0)
      assert.equal(seen.pop()?.reveal().toString(), expected)
      assert.ok(!`${shown.stdout}${shown.stderr}`.includes('horse'))
    }
    await chmod(file, 0o600)
    assert.equal((await show([ask], 'try', '--passphrase-file', `${file}x`)).code, 2)
  })

  test('a config that is missing ends with 3 and says how to make one', async (t) => {
    const missing = join(await tempFolder(t), 'knox.yaml')
    const { code, stderr } = await show([verb((knox) => knox.config())], 'try', '--config', missing)
    assert.equal(code, 3)
    assert.match(
      stderr,
      new RegExp(`no knox\\.yaml \\(looked at ${missing}\\)\nknox: hint: cp knox\\.example\\.yaml`),
    )
  })
})
