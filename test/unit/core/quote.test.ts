import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { quote, quoteAll, quoteForLogin } from '../../../provision/core/quote.ts'

/** Prints its arguments, each followed by a NUL. */
const ECHO = ['printf', '%s\\0'] as const

const hasShell = (shell: string) => spawnSync(shell, ['-c', 'exit 0']).error === undefined
const skipFor = (shell: string) => (hasShell(shell) ? false : `no ${shell} here`)

/** What a shell makes of quoted words; run in a folder that has files, with variables set. */
const through = (
  shell: readonly string[],
  words: readonly string[],
  quoted: (argv: readonly string[]) => string = quoteAll,
): readonly string[] => {
  const [file = '', ...flags] = shell
  const { stdout, stderr, status } = spawnSync(file, [...flags, '-c', quoted([...ECHO, ...words])], {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/nonesuch', X: 'expanded' },
    encoding: 'utf8',
  })
  assert.equal(status, 0, `${stderr} for ${JSON.stringify(words)}`)
  return stdout.split('\0').slice(0, -1)
}

const TRICKY = [
  ...[
    '',
    ' ',
    '-n',
    '--',
    '-',
    "'",
    "''",
    "it's",
    `"`,
    '\\',
    '\\n',
    '\\\\',
    '$X',
    '${X}',
    '$(id)',
    '`id`',
    '*',
    '?',
  ],
  ...[
    '[a-z]*',
    '{a,b}',
    '~',
    '~root',
    '#x',
    'a#b',
    ';',
    '&',
    '|',
    '<',
    '>',
    '(',
    ')',
    '^',
    '=',
    '=1',
    '=-',
    'A=b',
    '%',
  ],
  ...[
    '%1',
    '@',
    ':',
    'a:b',
    ',',
    '+',
    '/',
    '//',
    '\t',
    'two words',
    ' lead',
    'trail ',
    'é',
    '𝒳',
    'wd/two words@a b',
    '\u007f',
  ],
]

/** printf '%s' of a shell drops nothing but what a process cannot be given: NUL */
const word = fc.oneof(
  fc.constantFrom(...TRICKY),
  fc.array(fc.constantFrom(...TRICKY), { maxLength: 6 }).map((all) => all.join('')),
  fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '').replace(/\p{Cs}/gu, '')),
)
const words = fc.array(word, { minLength: 1, maxLength: 20 })

describe('a quoted word', () => {
  for (const shell of [['dash'], ['busybox', 'sh'], ['bash', '--posix'], ['mksh']])
    test(`reaches a program through ${shell[0] ?? ''} as it was`, { skip: skipFor(shell[0] ?? '') }, () => {
      const all = [...TRICKY, '!', 'a!b', '!!', '\n', 'a\nb', '\r', '\u001b[2J']
      assert.deepEqual(through(shell, all), all)
      fc.assert(
        fc.property(words, (some) => assert.deepEqual(through(shell, some), some)),
        { numRuns: 40 },
      )
    })

  for (const shell of ['tcsh', 'csh'])
    test(
      `without newline it reaches a program through ${shell}, root's shell on FreeBSD`,
      { skip: skipFor(shell) },
      () => {
        const all = [...TRICKY, '!', '!!', 'a!b', '!a', 'it’s a dog!', "'!'", '\\!', '!\\', '!=1']
        assert.deepEqual(through([shell, '-f'], all), all)
        const plain = word.map((text) => text.replaceAll('\n', '!'))
        fc.assert(
          fc.property(fc.array(plain, { minLength: 1, maxLength: 20 }), (some) =>
            assert.deepEqual(through([shell, '-f'], some), some),
          ),
          { numRuns: 40 },
        )
      },
    )

  for (const shell of [['tcsh', '-f'], ['csh', '-f'], ['dash'], ['busybox', 'sh']])
    test(
      `reaches a program through ${shell[0] ?? ''} as a login shell, with its newlines`,
      { skip: skipFor(shell[0] ?? '') },
      () => {
        const all = [...TRICKY, '!', '\n', 'a\n!b\n', "'\n'", 'é\n', '\\\n', '%d\n']
        assert.deepEqual(through(shell, all, quoteForLogin), all)
        fc.assert(
          fc.property(words, (some) => assert.deepEqual(through(shell, some, quoteForLogin), some)),
          { numRuns: 40 },
        )
      },
    )

  test('stays bare where it is plainly safe, so that commands read well', () => {
    for (const bare of ['zfs', 'wd/a@2015-07-24T16:14:10Z', '-p', '/dev/da0', 'a=b', '%x', 'user@host'])
      assert.equal(quote(bare), bare)
    assert.equal(quoteAll(['zfs', 'send', 'wd/two words@a']), "zfs send 'wd/two words@a'")
  })
})
