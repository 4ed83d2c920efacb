import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Read } from '../../../provision/core/command.ts'
import { diff, listInventory, parseInventory, snapshotRecursively } from '../../../provision/tools/zfs.ts'
import {
  estimateSend,
  parseProgress,
  readToken,
  resumeArgv,
  sendArgv,
} from '../../../provision/tools/zfs-send.ts'
import { knoxError } from '../../support/expect.ts'

const GUID = '18446744073709551615'

describe('an inventory', () => {
  test('of datasets, volumes and snapshots is read, each snapshot with its dataset, oldest first', () => {
    const lines = [
      'wd\tfilesystem\t11\t1',
      'wd@2015-07-25T00:00:00Z\tsnapshot\t13\t90',
      'wd@2015-07-24T16:14:10Z\tsnapshot\t12\t70',
      'wd/two words\tfilesystem\t21\t5',
      'wd/two words@auto 1%x\tsnapshot\t22\t71',
      `wd/vol\tvolume\t${GUID}\t18446744073709551615`,
    ]
    const [wd, words, vol] = parseInventory(lines)
    assert.deepEqual(wd, {
      name: 'wd',
      type: 'filesystem',
      guid: '11',
      createtxg: 1n,
      resumeToken: undefined,
      snapshots: [
        { name: '2015-07-24T16:14:10Z', guid: '12', createtxg: 70n },
        { name: '2015-07-25T00:00:00Z', guid: '13', createtxg: 90n },
      ],
    })
    assert.deepEqual([words?.name, words?.snapshots[0]?.name], ['wd/two words', 'auto 1%x'])
    assert.deepEqual(
      [vol?.type, vol?.guid, vol?.createtxg, vol?.snapshots],
      ['volume', GUID, 2n ** 64n - 1n, []],
    )
  })

  test('order is that of createtxg as a number: not the name’s (S4), and not the text’s', () => {
    const lines = [
      'wd\tfilesystem\t1\t1',
      ...[9n, 10n, 2n ** 63n, 2n ** 53n + 1n, 2n ** 53n].map(
        (txg, n) => `wd@${9 - n}\tsnapshot\t${n}\t${txg}`,
      ),
    ]
    const [wd] = parseInventory(lines)
    assert.deepEqual(
      wd?.snapshots.map(({ createtxg }) => createtxg),
      [9n, 10n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n],
    )
  })

  test('a resume token is kept, and none is none', () => {
    const token = '1-e604ea4bf-e0-789c63'
    const tokens = [`\t${token}`, '\t-', '\t', ''].map(
      (column) => parseInventory([`wd\tfilesystem\t1\t1\t-${column}`])[0]?.resumeToken,
    )
    assert.deepEqual(tokens, [token, undefined, undefined, undefined])
  })

  test('a snapshot that has a hold is held', () => {
    const lines = ['wd\tfilesystem\t1\t1\t-', 'wd@a\tsnapshot\t2\t2\t0\t-', 'wd@b\tsnapshot\t3\t3\t2']
    assert.deepEqual(
      parseInventory(lines)[0]?.snapshots.map(({ held }) => held),
      [undefined, true],
    )
    assert.throws(() => parseInventory([lines[0] ?? '', 'wd@c\tsnapshot\t4\t4\tx']))
  })

  test('a hostile or broken line is an error, shown without its control characters', () => {
    const lines = [
      '',
      'wd',
      'wd\tfilesystem',
      'wd\tfilesystem\t1',
      'wd\tfilesystem\t1\t',
      'wd\tfilesystem\t-1\t1',
      'wd\tfilesystem\t1e3\t1',
      'wd\tfilesystem\t0x1\t1',
      'wd\tfilesystem\t111111111111111111111\t1',
      'wd\tfilesystem\t1\t1.5',
      'wd\tbookmark\t1\t1',
      'wd#b\tbookmark\t1\t1',
      'wd@a\tfilesystem\t1\t1',
      'wd\tsnapshot\t1\t1',
      '@a\tsnapshot\t1\t1',
      '\tfilesystem\t1\t1',
      'wd\u001b[2J\tfilesystem\t1\t1',
      'wd/ä\tfilesystem\t1\t1',
      'wd/a\0\tfilesystem\t1\t1',
      `${'x'.repeat(1025)}\tfilesystem\t1\t1`,
      'wd\tfilesystem\t1\t1\r',
      'cannot open: permission denied',
    ]
    for (const line of lines) {
      assert.throws(
        () => parseInventory([line]),
        knoxError('verification', /not understood/),
        JSON.stringify(line),
      )
      assert.throws(() => parseInventory(['wd\tfilesystem\t1\t1', line]), knoxError('verification'), line)
    }
    assert.throws(
      () => parseInventory(['\u001b[2J']),
      (error) => error instanceof Error && !/\p{Cc}/u.test(error.message),
    )
  })

  test('whatever lines come, there is an answer or an error of code verification', () => {
    const line = fc
      .array(
        fc.constantFrom('wd', '@', '/', '\t', '1', 'filesystem', 'snapshot', '-', '\0', 'é', '__proto__'),
      )
      .map((all) => all.join(''))
    const tame = (lines: readonly string[]) => {
      try {
        return Array.isArray(parseInventory(lines))
      } catch (error) {
        return knoxError('verification')(error)
      }
    }
    fc.assert(fc.property(fc.array(fc.oneof(line, fc.string())), tame), { numRuns: 2000 })
  })

  test('of home is one process for one pool (S4: never all pools), and its empty output no dataset', () => {
    const { argv, parse } = listInventory('wd')
    assert.equal(argv.at(-1), 'wd')
    assert.ok(argv.includes('-r'))
    assert.deepEqual(parse(''), [])
  })
})

describe('the size of a stream', () => {
  const read = (range = { dataset: 'wd/a', from: '1', to: '2' }): Read<number | undefined> =>
    estimateSend(range)

  test('is the last line of the estimate, whichever way it was printed', () => {
    // FreeBSD 10.2 (stderr) and OpenZFS 2.1 (stdout): full, incremental with more than one snapshot, empty
    const cases: readonly (readonly [string, number | undefined])[] = [
      ['full\twd/a@1\t47328\nsize\t47328\n', 47_328],
      ['incremental\t1\twd/a@2\t624\nincremental\t2\twd/a@3\t1248\nsize\t1872\n', 1872],
      ['incremental\t1\twd/two words@2\t624\nsize\t624\n', 624],
      ['size\t0\n', 0],
      ['size\t1099511627776\n', 2 ** 40],
      ['', undefined],
      ['size\t1.5K\n', undefined],
      ['full\twd/size@1\t47328\n', undefined],
      ["cannot open 'wd/a': dataset does not exist\n", undefined],
    ]
    for (const [output, bytes] of cases) assert.equal(read().parse(output), bytes, output)
  })

  test('is asked of the very stream that will be sent, with stderr joined in (facts 11.15)', () => {
    for (const range of [
      { dataset: 'wd/two words', from: undefined, to: 'a b' },
      { dataset: 'wd', from: '1', to: '2' },
    ]) {
      const send = sendArgv(range)
      const estimate = estimateSend(range).argv
      assert.deepEqual(estimate.slice(-send.slice(4).length), send.slice(4))
      assert.deepEqual(estimate.slice(0, 3), ['sh', '-c', 'exec "$@" 2>&1'])
      assert.ok(estimate.includes('-n'))
    }
  })
})

describe('zfs send', () => {
  test('carries one dataset: never -R, which deletes and renames (S5, facts 11.11)', () => {
    const full = sendArgv({ dataset: 'wd/a', from: undefined, to: '2' })
    const incremental = sendArgv({ dataset: 'wd/a', from: '1', to: '2' })
    assert.deepEqual(full, ['zfs', 'send', '-P', '-v', '-p', 'wd/a@2'])
    assert.deepEqual(incremental, ['zfs', 'send', '-P', '-v', '-p', '-I', '@1', 'wd/a@2'])
  })

  test('progress is the last line of what it says', () => {
    const text = 'full\twd@1\t47328\nsize\t47328\n12:00:01\t312\twd@1\n12:00:02\t70000\twd/two words@a b\n'
    assert.deepEqual(parseProgress(text), { snapshot: 'wd/two words@a b', bytes: 70_000 })
    for (const none of [
      '',
      'size\t1\n',
      'TIME\tSENT\tSNAPSHOT\n',
      '1:00:00\t1\twd@1\n',
      '12:00:00\t1.5K\twd@1\n',
    ])
      assert.equal(parseProgress(none), undefined, none)
  })

  test('a token is read as zfs prints it, the guid as the inventory has it', () => {
    const text = [
      'resume token contents:',
      'nvlist version: 0',
      '\tobject = 0x8',
      '\tbytes = 0x2a1f0',
      '\ttoguid = 0xfffffffffffffffe',
      '\ttoname = wd/two words@a b',
      'full\twd/two words@a b\t12345',
      'size\t12345',
      '',
    ].join('\n')
    assert.deepEqual(readToken('1-a-b-c').parse(text), {
      snapshot: 'wd/two words@a b',
      guid: '18446744073709551614',
      bytes: 12_345,
    })
    assert.equal(readToken('1-a-b-c').parse('toguid = 0xzz\n'), undefined)
    assert.deepEqual(resumeArgv('1-a-b-c').slice(-2), ['-t', '1-a-b-c'])
  })

  test('what fails at home is told as what it is', () => {
    const rules = listInventory('wd').failures ?? []
    const codeOf = (stderr: string) => rules.find(({ pattern }) => pattern.test(stderr))?.code
    assert.equal(codeOf("cannot open 'wd': dataset does not exist"), 'config')
    assert.equal(codeOf("cannot open 'wd': no such pool"), 'config')
    assert.equal(codeOf("cannot open 'wd': permission denied"), 'platform')
    assert.equal(codeOf('The ZFS modules are not loaded.\nTry running modprobe zfs'), 'platform')
    assert.equal(codeOf('internal error: out of memory'), undefined)
    const taken = snapshotRecursively('wd', 'x').failures?.find(({ pattern }) =>
      pattern.test("cannot create snapshot 'wd@x': dataset already exists"),
    )
    assert.equal(taken?.code, 'busy')
  })
})

describe('the changed files', () => {
  const parse = (text: string) => diff('wd', 'a', 'b').parse(text)

  test('are read with blanks, backslashes and letters of any alphabet, as OpenZFS and as 10.2 write them', () => {
    const cases: readonly (readonly [string, string])[] = [
      ['/wd/plain', '/wd/plain'],
      [String.raw`/wd/two\0040words`, '/wd/two words'],
      [String.raw`/wd/two\040words`, '/wd/two words'],
      [String.raw`/wd/no\0401`, '/wd/no 1'],
      [String.raw`/wd/no\00401`, '/wd/no 1'],
      [String.raw`/wd/gr\0303\0274n`, '/wd/grün'],
      [String.raw`/wd/gr\303\274n`, '/wd/grün'],
      [String.raw`/wd/\0360\0235\0222\0263`, '/wd/𝒳'],
      [String.raw`/wd/back\0134slash`, String.raw`/wd/back\slash`],
      [String.raw`/wd/back\0134040`, String.raw`/wd/back\040`],
      [String.raw`/wd/tab\0011new\0012line`, '/wd/tab\tnew\nline'],
      [String.raw`/wd/del\0177`, '/wd/del\u007f'],
      ['/wd/grün', '/wd/grün'],
      [String.raw`/wd/\x`, String.raw`/wd/\x`],
    ]
    for (const [written, path] of cases)
      assert.deepEqual(parse(`M\t${written}\n`), [{ kind: 'M', path, renamedTo: undefined }], written)
  })

  test('any path comes back as it was from either way of writing', () => {
    const escape = (width: number) => (path: string) =>
      Array.from(Buffer.from(path), (byte) =>
        byte > 0x20 && byte !== 0x5c && byte < 0x7f
          ? String.fromCharCode(byte)
          : `\\${byte.toString(8).padStart(width, '0')}`,
      ).join('')
    const path = fc.string({ unit: 'grapheme', minLength: 1 }).map((text) => `/wd/${text}`)
    for (const width of [3, 4])
      fc.assert(
        fc.property(path, (one) => {
          // an octal digit right after \0oo of three digits cannot always be told from four
          fc.pre(width === 4 || !/[\0-\x08\x0b-\x1f][0-7]/.test(one))
          assert.equal(parse(`+\t${escape(width)(one)}`)[0]?.path, one)
        }),
      )
  })

  test('each kind is told; a rename has its target, a changed link count is no rename', () => {
    const text = '+\t/wd/a\n-\t/wd/b\nM\t/wd/c\t(+1)\nR\t/wd/d\t/wd/e\\0040f\nX\t/wd/x\ngarbage\n\n'
    assert.deepEqual(parse(text), [
      { kind: '+', path: '/wd/a', renamedTo: undefined },
      { kind: '-', path: '/wd/b', renamedTo: undefined },
      { kind: 'M', path: '/wd/c', renamedTo: undefined },
      { kind: 'R', path: '/wd/d', renamedTo: '/wd/e f' },
    ])
  })
})
