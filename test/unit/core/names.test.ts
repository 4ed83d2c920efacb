import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  checkName,
  isName,
  NAMES,
  parseAddress,
  printable,
  type NameRule,
} from '../../../provision/core/names.ts'
import { knoxError } from '../../support/expect.ts'

const RULES = Object.entries(NAMES) as readonly (readonly [keyof typeof NAMES, NameRule])[]

/** what a name could be confused with: plausible parts, metacharacters, controls, and a little of everything */
const piece = fc.oneof(
  fc.constantFrom('wd', 'da0', 'a', '0', '-', '/', '.', '..', '@', ' ', '%', ':', '_', 'releng/', '10.2'),
  fc.constantFrom(...Array.from(';&|<>()$`\\"\'*?[]{}!#~=\n\r\t\0\u001b\u007f\u009b\u202eé𝒳')),
)
const examples = [
  'knox',
  'wd',
  'wd/two words',
  'before upgrade',
  'da0',
  'diskid/DISK-1',
  'ue0',
  'releng/10.2',
]
const insert = (name: string, at: number, what: string) => name.slice(0, at) + what + name.slice(at)
const text = fc.oneof(
  fc.array(piece, { maxLength: 8 }).map((all) => all.join('')),
  fc.tuple(fc.constantFrom(...examples), fc.nat({ max: 14 }), piece).map((parts) => insert(...parts)),
  fc.string({ unit: 'binary' }),
)

/** Asserts something of every text that a rule lets through, and that the rules let some through. */
const forAllNames = (rules: readonly NameRule[], holds: (name: string) => boolean) => {
  let passed = 0
  const check = (name: string) =>
    rules.every((rule) => {
      if (!isName(rule, name)) return true
      passed += 1
      return holds(name)
    })
  fc.assert(fc.property(text, check), { numRuns: 5000 })
  assert.ok(passed > 500, `only ${passed} names`)
}

describe('whatever passes a rule for names', () => {
  const all = RULES.map(([, rule]) => rule)

  test('holds no shell metacharacter but a blank, and that only in datasets and snapshots', () => {
    forAllNames(all, (name) => !/[;&|<>()$`\\"'*?[\]{}!#~=^]/.test(name))
    forAllNames(
      RULES.filter(([key]) => key !== 'dataset' && key !== 'snapshot').map(([, rule]) => rule),
      (name) => !name.includes(' '),
    )
  })

  test('is printable ASCII in one line', () => {
    forAllNames(all, (name) => /^[ -~]+$/.test(name))
  })

  test('begins with no dash, so that no program takes it for an option', () => {
    forAllNames(all, (name) => !name.startsWith('-'))
  })

  test('climbs out of no folder', () => {
    forAllNames(all, (name) => !name.startsWith('/') && !name.split('/').includes('..'))
  })
})

describe('a name', () => {
  const good: Readonly<Record<keyof typeof NAMES, readonly string[]>> = {
    box: ['knox', 'a', '0', 'my-box-2', 'x'.repeat(63)],
    pool: ['wd', 'tank', 'a.b:c-d_e', 'crack', 'c', 'Mirror'],
    dataset: ['wd', 'wd/a', 'wd/two words', 'wd/a.b/c:d_e-f', 'wd/.hidden', 'wd/-x', `wd/${'x'.repeat(252)}`],
    snapshot: ['2015-07-24T16:14:10Z', 'before upgrade', 'auto%20', '...', 'x'.repeat(255)],
    disk: ['da0', 'ada12', 'mmcsd0', 'diskid/DISK-WD-1234.5_6'],
    interface: ['ue0', 'em0', 'bfe12'],
    keymap: ['uk', 'us', 'de.noacc', 'fr-dvorak.acc'],
    release: ['releng/10.2', 'releng/14.0'],
  }
  const bad: Readonly<Record<keyof typeof NAMES, readonly string[]>> = {
    box: ['', 'Knox', 'a;b', 'a b', '-a', 'a-', 'a_b', 'a.b', 'x'.repeat(64), 'knox\n', 'knöx'],
    pool: [
      '',
      '0wd',
      'mirror',
      'mirror1',
      'raidz2',
      'draid',
      'spare',
      'log',
      'c0',
      'wd/a',
      'wd@x',
      'w d',
      'wd\n',
    ],
    dataset: [
      '',
      '/wd',
      'wd/',
      'wd//a',
      'wd/..',
      'wd/../x',
      'wd/./x',
      'wd@s',
      'wd#b',
      'wd/ä',
      'wd/a\tb',
      'wd/a\n',
    ],
    snapshot: ['', 'a@b', 'a/b', '-x', 'a#', 'x'.repeat(256), 'ä', 'a\nb', '$(id)'],
    disk: ['', '/dev/da0', 'da', 'da0s1', 'da0;reboot', '../da0', 'diskid/DISK-', 'diskid/DISK-a/b', 'DA0'],
    interface: ['', 'eth', 'ue0.1', 'UE0', 'ue0 ', '-e0'],
    keymap: ['', '.', '-uk', '../uk', 'u k', 'x'.repeat(33)],
    release: ['', 'releng/10', 'stable/10', 'head', 'releng/10.2/..', 'releng/10.2 ', 'releng/100.1'],
  }
  for (const [key, rule] of RULES) {
    test(`${rule.what}: what is one, and what is not`, () => {
      for (const name of good[key]) assert.equal(checkName(rule, name), name)
      for (const name of bad[key])
        assert.throws(() => checkName(rule, name), knoxError('usage', /expected/), name)
    })
  }

  test('of 100,000 characters is refused at once', () => {
    const started = Date.now()
    for (const unit of ['a', 'a/', '/', '.', ' ', 'a-', '..', '/./'])
      for (const [, rule] of RULES) assert.ok(!isName(rule, unit.repeat(100_000 / unit.length)))
    assert.ok(Date.now() - started < 2000)
  })
})

describe('an address', () => {
  test('is a host or an address, with a port or without', () => {
    const cases: readonly (readonly [string, string, number])[] = [
      ['192.168.1.13', '192.168.1.13', 22],
      ['192.168.1.13:2222', '192.168.1.13', 2222],
      ['knox.example.net', 'knox.example.net', 22],
      ['knox.example.net.', 'knox.example.net.', 22],
      ['knox-1:65535', 'knox-1', 65_535],
      ['KNOX:1', 'KNOX', 1],
      ['0box', '0box', 22],
      [`${'a'.repeat(56)}.onion:22`, `${'a'.repeat(56)}.onion`, 22],
      ['2001:db8::1', '2001:db8::1', 22],
      ['::1', '::1', 22],
      ['fe80::1%em0', 'fe80::1%em0', 22],
      ['::ffff:10.0.0.1', '::ffff:10.0.0.1', 22],
      ['[2001:db8::1]', '2001:db8::1', 22],
      ['[2001:db8::1]:2222', '2001:db8::1', 2222],
      ['[fe80::1%ue0]:22', 'fe80::1%ue0', 22],
    ]
    for (const [address, host, port] of cases)
      assert.deepEqual(parseAddress(address), { host, port }, address)
  })

  test('is not any other text', () => {
    const cases = [
      ...[
        '',
        ' ',
        ':',
        ':22',
        'host:',
        'host:0',
        'host:65536',
        'host:99999',
        'host:123456',
        'host:-1',
        'host:ssh',
      ],
      ...[
        'host:22:22',
        'ho st',
        'host;reboot',
        '$(id)',
        'a`id`',
        '-oProxyCommand=x',
        '-host',
        'host-',
        'a..b',
        '.a',
      ],
      ...['root@host', 'ssh://host', 'http://host', 'host/', 'host\n', 'hést', 'a_b', '*', 'a%b'],
      ...[
        '[host]:22',
        '[]:22',
        '[::1',
        '::1]',
        '[::1]22',
        '[::1]:',
        '[::1]:0',
        '[::1]:65536',
        '[[::1]]:22',
        '[127.0.0.1]',
      ],
      ...[
        '1:2:3',
        ':::',
        '::::::',
        '12345::',
        '1::2::3',
        ':1',
        'fe80::1%',
        'fe80::1%a;b',
        '::1.2.3',
        '1:2:3:4:5:6:7:8:9',
      ],
      ...['192.168.1', '192.168.1.256', '1.2.3.4.5', '8080', '999.999.999.999', '192.168.01.1'],
    ]
    for (const address of cases) assert.equal(parseAddress(address), undefined, JSON.stringify(address))
  })

  test('is taken from whatever text, and what comes out is safe as a word', () => {
    const words = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.domain(),
      fc.ipV6().map((ip) => `[${ip}]:22`),
      fc.tuple(fc.domain(), fc.integer()).map(([name, port]) => `${name}:${port}`),
      fc
        .array(fc.constantFrom('1', 'a', ':', '.', '-', '[', ']', '%', '::', ';', ' '))
        .map((all) => all.join('')),
      text,
    )
    fc.assert(
      fc.property(words, (word) => {
        const address = parseAddress(word)
        if (address === undefined) return true
        return (
          /^[A-Za-z0-9:][A-Za-z0-9:.%-]*$/.test(address.host) && address.port > 0 && address.port < 65_536
        )
      }),
      { numRuns: 3000 },
    )
    fc.assert(fc.property(fc.ipV6(), (ip) => parseAddress(`[${ip}]:7`)?.host === ip))
    fc.assert(fc.property(fc.ipV4(), (ip) => parseAddress(ip)?.host === ip))
  })
})

describe('printable', () => {
  test('no control character is left, and nothing else is lost', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (word) => !/\p{Cc}/u.test(printable(word))))
    assert.equal(printable('a\u001b[2Jb\r\n\tc\u009b\u007fé𝒳 ’'), 'a?[2Jb???c??é𝒳 ’')
  })

  test('text that turns the direction of a line is neutralised too', () => {
    assert.equal(printable('a\u202eb\u2066c\u200fd\u2028e'), 'a?b?c?d?e')
  })
})
