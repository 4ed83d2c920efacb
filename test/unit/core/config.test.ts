import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { KnoxError } from '../../../provision/core/errors.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { box, BROKEN, home } from './broken-configs.ts'

const errorOf = async (text: string): Promise<KnoxError> => {
  const error = await thrownBy(() => parseConfig(text, 'knox.yaml'))
  assert.ok(error instanceof KnoxError, String(error))
  assert.equal(error.code, 'config')
  return error
}

describe('a knox.yaml that is wrong', () => {
  for (const [title, text, expected] of BROKEN)
    test(`${title}: file, line, column, the problem, and where to look`, async () => {
      const { message, hints } = await errorOf(text)
      assert.match(message, expected)
      assert.ok(hints.includes('knox.example.yaml shows every key'))
    })

  test('every problem is told at once, up to ten', async () => {
    const two = await errorOf(`box:\n  addresses: 5\n  name: X\nhome:\n  pool: 0\na: 1\nb: 2\n`)
    const told = [two.message, ...two.hints].filter((line) => line.startsWith('knox.yaml:'))
    assert.deepEqual(told.map((line) => line.split(': ')[1]).sort(), [
      'a',
      'b',
      'box.addresses',
      'box.name',
      'home.pool',
    ])
    const many = await errorOf(`${box}${home}${Array.from({ length: 99 }, (_, n) => `k${n}: 1\n`).join('')}`)
    assert.equal(many.hints.length, 10)
  })

  test('a few lines that unfold to millions are refused at once', async () => {
    const nines = (what: string) => `[${Array(9).fill(what).join(', ')}]`
    const rows = 'bcdefghij'.split('').map((c, n) => `${c}: &${c} ${nines(`*${'abcdefghi'[n] ?? ''}`)}\n`)
    const started = Date.now()
    assert.match((await errorOf(`a: &a ${nines('x')}\n${rows.join('')}`)).message, /^knox\.yaml:1:1: .*alias/)
    assert.ok(Date.now() - started < 2000)
  })

  test('brackets without end are refused, and do not crash', async () => {
    await errorOf('['.repeat(20_000))
    await errorOf(`a: ${'{a: '.repeat(20_000)}`)
  })

  test('no control character of the file reaches the terminal', async () => {
    const { message, hints } = await errorOf(`${box}${home}"\\e[2J\\u009b": 1\n`)
    assert.match(message, /^knox\.yaml:5:1: \?\[2J\?: is not a key/)
    assert.doesNotMatch([message, ...hints].join(''), /\p{Cc}/u)
  })

  test('whatever the text is, the answer is a config or an error of code config', () => {
    const word = fc.constantFrom(
      'box',
      'home',
      'pool',
      'addresses',
      ':',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '&a',
      '*a',
      '!!x',
      '"',
      "'",
      '|',
      '>',
      '#',
      '?',
      '---',
      '\t',
      '\0',
      '%',
      'wd',
    )
    const text = fc.array(word, { maxLength: 30 }).map((words) => words.join(' '))
    fc.assert(
      fc.property(fc.oneof(text, fc.string()), (yaml) => {
        try {
          return typeof parseConfig(yaml, 'f') === 'object'
        } catch (error) {
          return knoxError('config', /^f:\d+:\d+: /)(error)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a knox.yaml that is right', () => {
  test('the shortest one has every default of the Raspberry Pi', () => {
    assert.deepEqual(parseConfig(box + home, 'f'), {
      box: {
        name: 'knox',
        addresses: ['192.168.1.13'],
        board: 'rpi-b',
        release: 'releng/10.2',
        interface: 'ue0',
        network: 'dhcp',
        nameserver: '8.8.4.4',
        root: 'mmcsd0s2a',
        swap: 'mmcsd0s3',
        disk: 'da0',
        pool: 'wd',
      },
      home: { pool: 'wd', exclude: [], deletions: { grace: 30, most: 10 }, retries: 5 },
      image: { size: '3900mb' },
      alerts: { 'max-age': 172_800, on: 'failure' },
    })
  })

  test('a laptop has other defaults, and what is written wins', () => {
    const { box: laptop } = parseConfig(`${box}  board: laptop\n${home}`, 'f')
    assert.deepEqual([laptop.root, laptop.swap, laptop.interface], ['ada0p2', 'ada0p3', 'em0'])
    const { box: own } = parseConfig(`${box}  board: laptop\n  interface: bfe0\n  root: ada1p1\n${home}`, 'f')
    assert.deepEqual([own.root, own.swap, own.interface], ['ada1p1', 'ada0p3', 'bfe0'])
  })

  test('knox.example.yaml is right, and says as defaults what the defaults are', async () => {
    const text = await readFile(join(import.meta.dirname, '../../../knox.example.yaml'), 'utf8')
    const config = parseConfig(text, 'knox.example.yaml')
    assert.deepEqual(config, parseConfig(box + home, 'f'))
    const values: Readonly<Record<string, unknown>> = config.box
    const shown = [...text.matchAll(/^ {2}# (\w+): (\S+)/gm)].filter(([, key = '']) => key in values)
    assert.ok(shown.length > 8)
    for (const [, key = '', value] of shown) assert.equal(String(values[key]), value, key)
  })

  test('alerts of every kind are taken', () => {
    const text = `${box}${home}alerts:\n  max-age: 36h\n  ping: https://hc-ping.com/1-2-3?x=1\n  command: /opt/my hook\n  on: always\n  mail: me+knox@example.net\n  metrics: /var/db/knox.prom\n`
    assert.deepEqual(parseConfig(text, 'f').alerts, {
      'max-age': 129_600,
      ping: 'https://hc-ping.com/1-2-3?x=1',
      command: '/opt/my hook',
      on: 'always',
      mail: 'me+knox@example.net',
      metrics: '/var/db/knox.prom',
    })
    assert.equal(parseConfig(`${box}${home}alerts: {mail: root}\n`, 'f').alerts.mail, 'root')
  })

  test('a dataset with blanks can be excluded', () => {
    const { home: parsed } = parseConfig(`${box}${home}  exclude: [wd/two words, "wd/a: b/c"]\n`, 'f')
    assert.deepEqual(parsed.exclude, ['wd/two words', 'wd/a: b/c'])
  })

  test('addresses of every kind, a fixed network and a folder with blanks are taken', () => {
    const text = `box:\n  addresses: [10.0.0.2, "knox.example.net:2222", "[2001:db8::1]:22", 2001:db8::1]\n  network: {address: 10.0.0.2/24, gateway: 10.0.0.1}\n${home}  folder: /home/me/my keys\n`
    const config = parseConfig(text, 'f')
    assert.equal(config.box.addresses.length, 4)
    assert.deepEqual(config.box.network, { address: '10.0.0.2/24', gateway: '10.0.0.1' })
    assert.equal(config.home.folder, '/home/me/my keys')
  })

  test('an anchor used now and then, a byte order mark and CRLF are no trouble', () => {
    const anchored = 'box:\n  addresses: &a [a.b]\n  disk: &d da1\nhome:\n  pool: wd\n'
    assert.equal(parseConfig(anchored, 'f').box.disk, 'da1')
    assert.deepEqual(
      parseConfig(`\ufeff${box}${home}`.replaceAll('\n', '\r\n'), 'f'),
      parseConfig(box + home, 'f'),
    )
  })
})
