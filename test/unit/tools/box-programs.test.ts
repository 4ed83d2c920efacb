import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { run } from '../../../provision/system/process.ts'
import { readDisk } from '../../../provision/tools/disk.ts'
import {
  geliAttach,
  geliDetach,
  geliInit,
  geliProviders,
  readMetadata,
} from '../../../provision/tools/geli.ts'
import { zpoolCreate, zpoolExport, zpoolImport } from '../../../provision/tools/zpool.ts'
import { knoxError } from '../../support/expect.ts'

const key = new Secret('disk key', 'k3y bytes')

/** The sections as the look at a disk prints them; each can be replaced. */
const look = (
  parts: Partial<Record<'diskinfo' | 'geom' | 'first' | 'last' | 'label', string>> = {},
): string => {
  const geom = [
    'Geom name: da0',
    'Providers:',
    '1. Name: da0',
    '   Mediasize: 2000398934016 (1.8T)',
    '   Sectorsize: 512',
    '   Mode: r0w0e0',
    '   descr: WD My Passport 25E2',
    '   lunid: 50014ee0ae0b1c2d',
    '   ident: WX11A1234567',
    '',
  ].join('\n')
  const sections = {
    diskinfo: '/dev/da0\t512\t2000398934016\t3907029168\t0\t0\t243201\t255\t63\n',
    geom,
    first: '       0\n',
    last: '       0\n',
    label: '\n',
    ...parts,
  }
  return Object.entries(sections)
    .map(([name, text]) => `== ${name}\n${text}`)
    .join('')
}

describe('a look at a disk', () => {
  const parse = (text: string) => readDisk('da0').parse(text)

  test('tells model, serial, size, use and contents', () => {
    assert.deepEqual(parse(look()), {
      name: 'da0',
      description: 'WD My Passport 25E2',
      serial: 'WX11A1234567',
      bytes: 2_000_398_934_016,
      sectorBytes: 512,
      inUse: false,
      contents: 'blank',
    })
  })

  test('a disk is in use unless it is said to be closed', () => {
    const geom = (mode: string) => look({ geom: `Geom name: da0\n${mode}\n` })
    for (const mode of [
      '   Mode: r1w1e1',
      '   Mode: r0w0e1',
      '   Mode: r1w0e0',
      '',
      '   Mode: ',
      '   Mode: (null)',
    ])
      assert.equal(parse(geom(mode)).inUse, true, mode)
    assert.equal(parse(geom('   Mode: r0w0e0')).inUse, false)
  })

  test('a disk holds data unless both its ends were read and are zero (facts 11.27)', () => {
    for (const first of ['1\n', '  1048576\n', '', '\n', 'dd: /dev/da0: Input/output error\n'])
      assert.deepEqual(
        [parse(look({ first })).contents, parse(look({ last: first })).contents],
        ['data', 'data'],
        first,
      )
    assert.equal(parse(look({ last: '512\n', label: 'GEOM::ELI\n' })).contents, 'geli')
  })

  test('without a size it is an error, without model and serial it is not', () => {
    for (const diskinfo of ['', 'diskinfo: /dev/da0: No such file\n', '/dev/da0\t512\t0\t0\n', '/dev/da0\n'])
      assert.throws(() => parse(look({ diskinfo })), knoxError('disk'))
    const { description, serial } = parse(look({ geom: '   Mode: r0w0e0\n   descr: (null)\n   ident: \n' }))
    assert.deepEqual([description, serial], ['unknown model', undefined])
  })

  test('no control character of a disk’s model reaches the terminal', () => {
    const geom = '   Mode: r0w0e0\n   descr: a\u001b[2Jb\n   ident: c\u009bd\n'
    assert.deepEqual([parse(look({ geom })).description, parse(look({ geom })).serial], ['a?[2Jb', 'c?d'])
  })

  test('its script is one for sh, and ends badly where there is no such disk', async () => {
    const { argv, stdin } = readDisk('knoxnonesuch0')
    assert.equal((await run(['sh', '-n'], { stdin: stdin ?? '' })).exitCode, 0)
    assert.equal((await run(argv, { stdin: stdin ?? '' })).exitCode, 3)
  })
})

describe('what is done to a disk', () => {
  test('the key comes by stdin, never in an argument', () => {
    for (const change of [geliInit('da0', key), geliAttach('da0', key)]) {
      assert.equal(change.stdin, key)
      assert.ok(change.argv.includes('-'))
      assert.ok(!JSON.stringify(change).includes('k3y'))
    }
  })

  test('geli gets 4 KiB sectors, no passphrase and no metadata backup on the box (facts 11.22)', () => {
    assert.equal(
      geliInit('da0', key).argv.join(' '),
      'geli init -B none -e AES-XTS -l 128 -s 4096 -P -K - /dev/da0',
    )
    assert.equal(geliAttach('da0', key).argv.join(' '), 'geli attach -p -k - /dev/da0')
    assert.deepEqual(geliDetach('da0').argv, ['geli', 'detach', 'da0'])
  })

  test('the pool is never mounted, neither when made nor when imported (facts 11.8, 11.23)', () => {
    const create = zpoolCreate('wd', 'da0.eli').argv.join(' ')
    assert.match(create, /^zpool create -m none .*-O canmount=off.* wd da0\.eli$/)
    const importing = zpoolImport('wd').argv
    assert.ok(importing.includes('-N') && importing.includes('-R') && importing.at(-1) === 'wd')
    assert.deepEqual(zpoolExport('wd').argv, ['zpool', 'export', 'wd'])
  })

  test('the attached providers are read from geli status', () => {
    const text = '  Name  Status  Components\nda0.eli  ACTIVE  da0\n ada1p3.eli  ACTIVE  ada1p3\n'
    assert.ok(geliProviders.parse(text).includes('da0.eli'))
    assert.ok(geliProviders.parse(text).includes('ada1p3.eli'))
    assert.ok(!geliProviders.parse(' da10.eli  ACTIVE  da10\n').includes('da0.eli'))
    assert.ok(!geliProviders.parse('').includes('da0.eli'))
  })

  test('metadata comes home byte by byte', async () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, n) => n % 256))
    const script = 'printf "%b" "$1" | od -An -v -tx1'
    const octal = Array.from(bytes, (byte) => `\\0${byte.toString(8).padStart(3, '0')}`).join('')
    const { stdout } = await run(['bash', '-c', script, 'bash', octal])
    assert.deepEqual(readMetadata('da0').parse(stdout), bytes)
  })
})
