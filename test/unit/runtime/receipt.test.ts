import assert from 'node:assert/strict'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { describeStatus } from '../../../provision/cli/describe.ts'
import {
  forgetReceipt,
  readReceipt,
  receiptAge,
  receiptOf,
  rememberedDatasets,
  writeReceipt,
} from '../../../provision/runtime/receipt.ts'
import { snapshotName, takeSnapshot } from '../../../provision/runtime/snapshot.ts'
import { status } from '../../../provision/runtime/status.ts'
import type { Runner } from '../../../provision/core/command.ts'
import { KnoxError } from '../../../provision/core/errors.ts'
import { ignore } from '../../support/fake-box.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { inventory } from '../../support/simulated-box.ts'

const NOW = new Date('2026-11-23T12:00:00.000Z')
const pool = {
  name: 'bk',
  guid: '18446744073709551615',
  used: 1000,
  available: 2 ** 42,
  disk: '',
  trouble: '',
}
const made = () =>
  receiptOf(
    'knox',
    undefined,
    { pool, datasets: inventory('bk: r1=11 r2=12', 'bk/a b: a1=21', 'bk/empty:') },
    NOW,
  )

describe('a receipt', () => {
  test('comes back from its file as it was written, readable by its owner only', async (t) => {
    const dir = await tempFolder(t)
    await writeReceipt(dir, made())
    assert.deepEqual(await readReceipt(dir), made())
    assert.equal((await stat(join(dir, 'receipt.json'))).mode & 0o777, 0o600)
    await writeReceipt(dir, { ...made(), box: 'other' })
    assert.equal((await readReceipt(dir))?.box, 'other')
  })

  test('that is missing or damaged is none, so that the box is asked (S3, S7)', async (t) => {
    const dir = await tempFolder(t)
    assert.equal(await readReceipt(dir), undefined)
    const good = JSON.stringify(made())
    const damaged = [
      '',
      '\0'.repeat(500),
      'null',
      '[]',
      '{}',
      good.slice(0, -1),
      good.slice(0, 100),
      good.replace('"version":1', '"version":2'),
      good.replace('2026-11-23T12', 'yesterday'),
      good.replace('"used":1000', '"used":null'),
      good.replace('"guid"', '"gid"'),
      good.replace('"createtxg":"2"', '"createtxg":2'),
      good.replace('"createtxg":"2"', '"createtxg":"two"'),
      good.replace('{"version"', '{"extra":1,"version"'),
    ]
    for (const text of damaged) {
      assert.notEqual(text, good)
      await writeFile(join(dir, 'receipt.json'), text)
      assert.equal(await readReceipt(dir), undefined, text.slice(0, 60))
    }
  })

  test('is forgotten before the box gets another disk, even if there is none', async (t) => {
    const dir = await tempFolder(t)
    await forgetReceipt(dir)
    await writeReceipt(dir, made())
    await forgetReceipt(dir)
    assert.equal(await readReceipt(dir), undefined)
  })

  test('remembers each dataset with its newest snapshot, and its age', () => {
    const [bk, a, empty] = rememberedDatasets(made())
    assert.deepEqual(bk?.snapshots, [{ name: 'r2', guid: '12', createtxg: 2n }])
    assert.deepEqual([a?.name, a?.snapshots.length, empty?.snapshots], ['bk/a b', 1, []])
    assert.deepEqual(rememberedDatasets(undefined), [])
    assert.equal(receiptAge(made(), new Date('2026-11-23T12:01:40.500Z')), 100.5)
  })

  test('holds no more of a huge guid than the text of it: no digit is lost', async (t) => {
    const dir = await tempFolder(t)
    const txg = 2n ** 64n - 1n
    const datasets = inventory('bk: r1').map((one) => ({
      ...one,
      snapshots: [{ name: 'r1', guid: txg.toString(), createtxg: txg }],
    }))
    await writeReceipt(dir, receiptOf('knox', undefined, { pool, datasets }, NOW))
    assert.ok((await readFile(join(dir, 'receipt.json'), 'utf8')).includes('18446744073709551615'))
    assert.equal(rememberedDatasets(await readReceipt(dir))[0]?.snapshots[0]?.createtxg, txg)
  })
})

/** A home with a zfs that lists these lines, and a receipt in its key folder. */
const homeWith = async (t: TestContext, lines: readonly string[], receipt = true) => {
  const dir = await tempFolder(t)
  const folder = join(dir, 'keys')
  await mkdir(folder)
  await writeProgram(dir, 'zfs', `cat <<'END'\n${lines.join('\n')}\nEND`)
  withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
  if (receipt) await writeReceipt(folder, made())
  return parseConfig(
    `box:\n  addresses: [a.b]\n  pool: bk\nhome:\n  pool: wd\n  folder: ${folder}\n  exclude: [wd/out]\n`,
    'f',
  )
}

describe('the status', () => {
  const lines = [
    ...['wd\tfilesystem\t1\t1', 'wd@r1\tsnapshot\t11\t5', 'wd@r2\tsnapshot\t12\t6'],
    ...['wd/a b\tfilesystem\t2\t1', 'wd/a b@a1\tsnapshot\t21\t5', 'wd/a b@a2\tsnapshot\t22\t7'],
    ...['wd/new\tfilesystem\t3\t1', 'wd/new@n1\tsnapshot\t31\t5', 'wd/none\tfilesystem\t4\t1'],
    ...['wd/out\tfilesystem\t5\t1', 'wd/out@o1\tsnapshot\t51\t5'],
  ]

  test('tells each dataset’s state by the last receipt, in home’s names and the box’s', async (t) => {
    const config = await homeWith(t, lines)
    const found = await status(config, ignore, new Date('2026-11-23T13:00:00Z'))
    assert.deepEqual(
      found.datasets.map(({ dataset, state, home, box }) => [dataset, state, home, box]),
      [
        ['wd', 'proved', 'r2', 'r2'],
        ['wd/a b', 'behind', 'a2', 'a1'],
        ['wd/new', 'not-on-box', 'n1', undefined],
        ['wd/none', 'no-snapshot', undefined, undefined],
        ['bk/empty', 'box-only', undefined, undefined],
      ],
    )
    assert.deepEqual([found.age, found.used, found.available], [3600, 1000, 2 ** 42])
    const text = describeStatus(found)
    assert.match(text, /last proof 1 h 00 min ago \(2026-11-23T12:00:00\.000Z\)/)
    assert.match(text, /^wd\/a b +behind +home @a2 {2}box @a1$/m)
  })

  test('without a receipt nothing was ever proved', async (t) => {
    const found = await status(await homeWith(t, lines, false), ignore, NOW)
    assert.deepEqual([found.provedAt, found.age, found.used], [undefined, undefined, undefined])
    assert.ok(found.datasets.every(({ state }) => state === 'not-on-box' || state === 'no-snapshot'))
    assert.match(describeStatus(found), /nothing was ever proved/)
  })

  test('of a pool that does not exist is an error of code config', async (t) => {
    const config = await homeWith(t, [])
    const dir = await tempFolder(t)
    await writeProgram(dir, 'zfs', `echo "cannot open 'wd': dataset does not exist" >&2; exit 1`)
    withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
    await assert.rejects(
      status(config, ignore, NOW),
      knoxError('config', /does not exist at home.*home\.pool/s),
    )
  })
})

describe('a snapshot', () => {
  const config = parseConfig('box:\n  addresses: [a.b]\nhome:\n  pool: wd\n', 'f')
  const run = (taken: readonly string[], other?: Error) => {
    const tried: string[] = []
    const runner = {
      read: () => Promise.reject(new Error('nothing is read')),
      act: ({ argv }: { readonly argv: readonly string[] }) => {
        const name = argv.at(-1) ?? ''
        tried.push(name)
        if (other !== undefined) return Promise.reject(other)
        return taken.includes(name) ? Promise.reject(new KnoxError('busy', 'taken')) : Promise.resolve()
      },
    }
    return { tried, take: () => takeSnapshot(config, runner, NOW) }
  }

  test('is named by the time in UTC, to the second', async () => {
    assert.equal(snapshotName(new Date('2015-07-24T16:14:10.999Z')), '2015-07-24T16:14:10Z')
    assert.equal(await run([]).take(), '2026-11-23T12:00:00Z')
  })

  test('leaves out what is excluded and all below it, and takes the others by one command', async () => {
    const done: (readonly string[])[] = []
    const runner: Runner = {
      read: (command) => Promise.resolve(command.parse('wd\nwd/a b\nwd/tmp\nwd/tmp/x\nwd/tmpfiles\n')),
      act: ({ argv }) => Promise.resolve(void done.push(argv)),
    }
    const excluding = { ...config, home: { ...config.home, exclude: ['wd/tmp'] } }
    const at = await takeSnapshot(excluding, runner, NOW)
    assert.deepEqual(done, [['zfs', 'snapshot', `wd@${at}`, `wd/a b@${at}`, `wd/tmpfiles@${at}`]])
  })

  test('of more datasets than one command holds is refused before zfs is called, with what to do', async () => {
    const names = Array.from({ length: 3000 }, (_, n) => `wd/${String(n).padStart(40, 'x')}`)
    const runner: Runner = {
      read: (command) => Promise.resolve(command.parse(['wd', ...names].join('\n'))),
      act: () => Promise.reject(new Error('zfs was called')),
    }
    const take = (exclude: readonly string[]) =>
      takeSnapshot({ ...config, home: { ...config.home, exclude: [...exclude] } }, runner, NOW)
    await assert.rejects(take(['wd/tmp']), knoxError('config', /3001 datasets.*home\.exclude/s))
    await assert.rejects(take([]), /zfs was called/)
  })

  test('of a name that is taken gets a suffix: two runs in a second, a clock set back', async () => {
    const { tried, take } = run(['wd@2026-11-23T12:00:00Z', 'wd@2026-11-23T12:00:00Z-2'])
    assert.equal(await take(), '2026-11-23T12:00:00Z-3')
    assert.equal(tried.length, 3)
  })

  test('that cannot be taken at all is tried once, or a hundred times where each name is taken', async () => {
    const denied = run([], new KnoxError('platform', 'not allowed'))
    await assert.rejects(denied.take(), knoxError('platform'))
    assert.equal(denied.tried.length, 1)
    const all = run([], new KnoxError('busy', 'taken'))
    await assert.rejects(all.take(), knoxError('busy', /100 snapshots/))
    assert.equal(all.tried.length, 100)
  })
})
