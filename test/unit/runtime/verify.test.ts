import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { keyOf } from '../../../provision/runtime/sample-files.ts'
import { readVerifyState } from '../../../provision/runtime/verify-state.ts'
import { verify } from '../../../provision/runtime/verify.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind, listed, type StubHome } from '../../support/stub-home.ts'

/** What differs on the box stays an alarm until it was compared again and is the same. */

const skip = process.getuid?.() === 0 ? false : 'only root mounts a snapshot'

const sumOf = (text: string) => createHash('sha256').update(text).digest('hex')

/** two files, in the order of their turn */
const [FIRST = '', SECOND = ''] = ['cat', 'dog'].sort((a, b) =>
  keyOf(Buffer.from(a)) < keyOf(Buffer.from(b)) ? -1 : 1,
)

/** A home whose one snapshot holds both files, each with its own name as its content. */
const homeWithFiles = async (t: TestContext): Promise<StubHome> => {
  const home = await homeBehind(t)
  await home.zfs('wd: b=2')
  await mkdir(join(home.dir, 'files'))
  for (const name of [FIRST, SECOND]) await writeFile(join(home.dir, 'files', name), name)
  const last = 'for last; do :; done'
  await writeProgram(join(home.dir, 'bin'), 'mount', `${last}; cp -R ${join(home.dir, 'files')}/. "$last"`)
  await writeProgram(join(home.dir, 'bin'), 'umount', 'rm -rf "$1"/*')
  return home
}

const BEGIN = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked', ...listed('bk: b=2')]

/** The box says the sums that it is told, in this order. */
const boxSays = (home: StubHome, ...sums: readonly (readonly [string, string])[]) =>
  home.box([
    HELLO,
    ...['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked'],
    ...listed('bk: b=2'),
    ...['hear look|bk|b', 'say ok'],
    ...sums.flatMap(([name, sum]) => [`hear hash|${name}`, `say ok ${sum}`]),
    ...['hear bye', 'say locked'],
  ])

const turn = (name: string) => keyOf(Buffer.from(name))

/** A scrub that was once finished then. */
const scrubbed = (home: StubHome, finished: string, errors = 0) => {
  const of = { version: 1, at: finished, finished, state: 'ONLINE', scrub: 'finished', percent: null, errors }
  return writeFile(join(home.folder, 'scrub.json'), JSON.stringify({ ...of, damaged: [] }))
}

const different = async (home: StubHome) => (await readVerifyState(home.folder))?.different

describe('verify', { skip }, () => {
  test('looks at a file that differs in each run until it is the same; the alarm does not end before', async (t) => {
    const home = await homeWithFiles(t)
    const run = () => verify(home.config, 1, ignore)
    await boxSays(home, [FIRST, sumOf('rotten')])
    await assert.rejects(run(), knoxError('verification', new RegExp(`1 of 1 .*wd@b: ${FIRST}`)))
    await boxSays(home, [FIRST, sumOf('rotten')], [SECOND, sumOf(SECOND)])
    await assert.rejects(run(), knoxError('verification', new RegExp(`1 of 2 .*wd@b: ${FIRST}`)))
    assert.deepEqual(await different(home), [`wd@b: ${FIRST}`])
    await boxSays(home, [FIRST, sumOf(FIRST)], [SECOND, sumOf(SECOND)])
    const { files } = await verify(home.config, 100, ignore)
    assert.deepEqual([files, await different(home)], [2, []])
  })

  test('looks at all that differed, whatever the budget', async (t) => {
    const home = await homeWithFiles(t)
    await home.zfs('wd: b=2', 'wd/x: c=3')
    const listedBoth = listed('bk: b=2', 'bk/x: c=3')
    const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked', ...listedBoth]
    const looks = (sums: readonly string[], names: readonly string[]) =>
      ['bk|b', 'bk/x|c'].flatMap((at) => [
        ...[`hear look|${at}`, 'say ok'],
        ...names.flatMap((name, n) => [`hear hash|${name}`, `say ok ${sumOf(sums[n] ?? '')}`]),
      ])
    const bye = ['hear bye', 'say locked']
    await home.box([...begin, ...looks(['rotten', SECOND], [FIRST, SECOND]), ...bye])
    await assert.rejects(verify(home.config, 100, ignore), knoxError('verification', /2 of 4/))
    await home.box([...begin, ...looks(['rotten'], [FIRST]), ...bye])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('verification', /2 of 2/))
    assert.deepEqual(await different(home), [`wd@b: ${FIRST}`, `wd/x@c: ${FIRST}`])
  })

  test('counts a file system that had no turn yet as not compared, and one that is gone no more', async (t) => {
    const home = await homeWithFiles(t)
    await home.zfs('wd: b=2', 'wd/x: c=3')
    const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
    const first = ['hear look|bk|b', 'say ok', `hear hash|${FIRST}`, `say ok ${sumOf(FIRST)}`]
    await home.box([...begin, ...listed('bk: b=2', 'bk/x: c=3'), ...first, 'hear bye', 'say locked'])
    await verify(home.config, 1, ignore)
    const rounds = async () =>
      Object.values((await readVerifyState(home.folder))?.datasets ?? {})
        .map(({ name, covered }) => `${name} ${String(covered)}`)
        .sort()
    assert.deepEqual(await rounds(), ['wd null', 'wd/x null'])
    await home.zfs('wd: b=2')
    await boxSays(home, [SECOND, sumOf(SECOND)])
    await verify(home.config, 1, ignore)
    assert.match((await rounds()).join(), /^wd 20\d\d-[^,]*$/)
  })

  test('does not call a round whole in which a name was too long to be asked for, in whatever run', async (t) => {
    const home = await homeWithFiles(t)
    // its turn is before that of another one
    const deep = Array.from({ length: 8 }, () => '\u0001'.repeat(200)).join('/')
    await mkdir(join(home.dir, 'files', deep), { recursive: true })
    for (let n = 0; ; n += 1) {
      const path = `${deep}/${'\u0001'.repeat(200)}${n}`
      if (keyOf(Buffer.from(path)) > keyOf(Buffer.from(FIRST))) continue
      await writeFile(join(home.dir, 'files', path), 'long')
      break
    }
    await boxSays(home)
    assert.equal((await verify(home.config, 1, ignore)).unread.length, 1)
    await boxSays(home, [FIRST, sumOf(FIRST)], [SECOND, sumOf(SECOND)])
    const { covered, files } = await verify(home.config, 100, ignore)
    assert.deepEqual([covered, files], [[], 2])
    await boxSays(home, [FIRST, sumOf(FIRST)], [SECOND, sumOf(SECOND)])
    await verify(home.config, 100, ignore)
  })

  test('goes on behind what cannot be read at home, says it, and does not call the round whole', async (t) => {
    const home = await homeWithFiles(t)
    const files = join(home.dir, 'files')
    // a folder whose path is longer than any may be, for root too
    const name = 'x'.repeat(200)
    const dig = `cd "$last/deep"; n=0; while [ $n -lt 20 ]; do mkdir ${name}; cd ${name} || exit; n=$((n+1)); done; mkdir ${name}`
    await writeFile(
      join(home.dir, 'bin', 'mount'),
      `#!/bin/sh\nfor last; do :; done\ncp -R ${files}/. "$last"; mkdir "$last/deep"; ${dig}\n`,
    )
    await boxSays(home, [FIRST, sumOf(FIRST)], [SECOND, sumOf(SECOND)])
    const { covered, files: compared, unread } = await verify(home.config, 100, ignore)
    assert.deepEqual([covered, compared, unread.length], [[], 2, 1])
    assert.match(unread[0] ?? '', /^wd@b: deep\/x+/)
  })

  test('that breaks off while home reads a large file lets go of it, and tells why', async (t) => {
    const home = await homeWithFiles(t)
    await truncate(join(home.dir, 'files', FIRST), 2 ** 31)
    // as umount says it of a file system with an open file
    const busy =
      'if ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qF " $1/"; then echo "$1: target is busy" >&2; exit 32; fi'
    await writeProgram(join(home.dir, 'bin'), 'umount', `${busy}; rm -rf "$1"/*`)
    withEnv(t, { TMPDIR: await tempFolder(t) })
    const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked', ...listed('bk: b=2')]
    await home.box([...begin, 'hear look|bk|b', 'say ok', `hear hash|${FIRST}`, 'sleep 0.3'])
    const said: Event[] = []
    await assert.rejects(
      verify(home.config, 1, (event) => said.push(event)),
      knoxError('connection-lost'),
    )
    assert.deepEqual([said.filter(({ type }) => type === 'warning'), await readdir(tmpdir())], [[], []])
  })

  test('removes nothing of a snapshot that cannot be unmounted, and tells it', async (t) => {
    const home = await homeWithFiles(t)
    await writeProgram(join(home.dir, 'bin'), 'umount', 'echo "$1: target is busy" >&2; exit 32')
    withEnv(t, { TMPDIR: await tempFolder(t) })
    const said: Event[] = []
    const run = () => verify(home.config, 1, (event) => said.push(event))
    await boxSays(home, [FIRST, sumOf('rotten')])
    await assert.rejects(run(), knoxError('verification', new RegExp(`wd@b: ${FIRST}`)))
    const [left = ''] = await readdir(tmpdir())
    assert.deepEqual((await readdir(join(tmpdir(), left))).sort(), [FIRST, SECOND].sort())
    const warnings = said.flatMap((event) => (event.type === 'warning' ? [event.text, event.hint] : []))
    assert.match(
      warnings.join('\n'),
      new RegExp(`still be mounted at .*/${left}: [^]*umount .*/${left}; rmdir`),
    )
  })

  test('looks below the mounted file system at what is mounted already, and goes on where that is not mounted', async (t) => {
    const home = await homeWithFiles(t)
    const bin = join(home.dir, 'bin')
    await home.zfs('wd: b=2', 'wd/x: c=3')
    // FreeBSD's words for a snapshot that somebody has looked into
    await writeProgram(bin, 'mount', 'echo "mount: $5: Device busy" >&2; exit 1')
    const zfs = await readFile(join(bin, 'zfs'), 'utf8')
    const mounted = `
  'list -H -o mounted,mountpoint wd') printf 'yes\\t${home.dir}/wd\\n' ;;
  'list -H -o mounted,mountpoint wd/x') printf 'no\\t${home.dir}/wd/x\\n' ;;`
    await writeFile(join(bin, 'zfs'), zfs.replace('case "$*" in', `case "$*" in${mounted}`))
    await cp(join(home.dir, 'files'), join(home.dir, 'wd', '.zfs', 'snapshot', 'b'), { recursive: true })
    withEnv(t, { TMPDIR: await tempFolder(t) })
    const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
    const looks = ['hear look|bk|b', 'say ok']
    const sums = [FIRST, SECOND].flatMap((name) => [`hear hash|${name}`, `say ok ${sumOf(name)}`])
    await home.box([...begin, ...listed('bk: b=2', 'bk/x: c=3'), ...looks, ...sums, 'hear bye', 'say locked'])
    const { files, unread } = await verify(home.config, 100, ignore)
    assert.deepEqual([files, unread, await readdir(tmpdir())], [2, ['wd/x'], []])
  })

  test('holds the session open while home reads a file that it is slower with than the box', async (t) => {
    const home = await homeWithFiles(t)
    const bytes = 2 ** 28
    await writeFile(join(home.dir, 'files', FIRST), '')
    await truncate(join(home.dir, 'files', FIRST), bytes)
    const zeros = createHash('sha256').update(Buffer.alloc(bytes)).digest('hex')
    const hash = ['hear look|bk|b', 'say ok', `hear hash|${FIRST}`, `say ok ${zeros}`]
    await home.box([...BEGIN, ...hash, 'stays bye', 'say locked'])
    assert.equal((await verify(home.config, 1, ignore, 0.02)).bytes, bytes)
  })

  test('keeps and tells what differed before the connection broke, and goes on behind it', async (t) => {
    const home = await homeWithFiles(t)
    const look = ['hear look|bk|b', 'say ok']
    const rotten = [`hear hash|${FIRST}`, `say ok ${sumOf('rotten')}`]
    await home.box([...BEGIN, ...look, ...rotten, `hear hash|${SECOND}`])
    await assert.rejects(
      verify(home.config, 100, ignore),
      knoxError('verification', new RegExp(`1 of 1 .*wd@b: ${FIRST}[^]*then it broke off: `)),
    )
    assert.deepEqual(await different(home), [`wd@b: ${FIRST}`])
    const [round] = Object.values((await readVerifyState(home.folder))?.datasets ?? {})
    assert.deepEqual([round?.cursor, round?.covered], [keyOf(Buffer.from(FIRST)), null])
    await boxSays(home, [FIRST, sumOf(FIRST)], [SECOND, sumOf(SECOND)])
    const { covered } = await verify(home.config, 100, ignore)
    assert.deepEqual([covered, await different(home)], [['wd'], []])
  })

  test('keeps what differed in a file system that had no turn before the connection broke', async (t) => {
    const home = await homeWithFiles(t)
    await boxSays(home, [FIRST, sumOf('rotten')])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('verification'))
    await home.box([...BEGIN, 'hear look|bk|b'])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('connection-lost'))
    assert.deepEqual(await different(home), [`wd@b: ${FIRST}`])
  })

  test('keeps what differed and is gone at home, until a scrub has ended later without damage', async (t) => {
    const home = await homeWithFiles(t)
    const files = join(home.dir, 'files')
    await boxSays(home, [FIRST, sumOf('rotten')])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('verification'))
    await rename(join(files, FIRST), join(files, 'elsewhere'))
    const left = async () => {
      const inOrder = [SECOND, 'elsewhere'].sort((a, b) => (turn(a) < turn(b) ? -1 : 1))
      const { cursor = '' } = Object.values((await readVerifyState(home.folder))?.datasets ?? {})[0] ?? {}
      const due = inOrder.filter((name) => turn(name) > cursor)
      const sums = due.map((name) => [name, sumOf(name === SECOND ? SECOND : FIRST)] as const)
      await boxSays(home, ...sums)
      const { unread } = await verify(home.config, 100, ignore)
      return [unread.length, await different(home)]
    }
    const still = [1, [`wd: ${FIRST}`]]
    assert.deepEqual(await left(), still)
    await scrubbed(home, '2026-01-01T00:00:00.000Z')
    assert.deepEqual(await left(), still)
    await scrubbed(home, new Date().toISOString(), 1)
    assert.deepEqual(await left(), still)
    await scrubbed(home, new Date().toISOString())
    assert.deepEqual(await left(), [0, []])
  })

  test('a file that is there is compared, whatever a scrub has found', async (t) => {
    const home = await homeWithFiles(t)
    await boxSays(home, [FIRST, sumOf('rotten')])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('verification'))
    await scrubbed(home, new Date().toISOString())
    await boxSays(home, [FIRST, sumOf('rotten')], [SECOND, sumOf(SECOND)])
    await assert.rejects(verify(home.config, 1, ignore), knoxError('verification'))
    assert.deepEqual(await different(home), [`wd@b: ${FIRST}`])
  })

  test('forgets what differed in a file system only when it is gone on both sides, or scrubbed since', async (t) => {
    const home = await homeWithFiles(t)
    const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
    const looks = (at: string, name: string, sum: string) => [
      `hear look|${at}`,
      'say ok',
      `hear hash|${name}`,
      `say ok ${sum}`,
    ]
    const bye = ['hear bye', 'say locked']
    const both = listed('bk: b=2', 'bk/x: c=3')
    const rot = async () => {
      await rm(join(home.folder, 'verify.json'), { force: true })
      await home.zfs('wd: b=2', 'wd/x: c=3')
      const rotten = looks('bk/x|c', FIRST, sumOf('rotten'))
      await home.box([...begin, ...both, ...looks('bk|b', FIRST, sumOf(FIRST)), ...rotten, ...bye])
      await assert.rejects(verify(home.config, 5, ignore), knoxError('verification'))
      await home.zfs('wd: b=2')
    }
    const next = async (box: readonly string[], name: string) => {
      await home.box([...begin, ...box, ...looks('bk|b', name, sumOf(name)), ...bye])
      await verify(home.config, 1, ignore)
      return different(home)
    }
    await rot()
    assert.deepEqual(await next(both, SECOND), [`wd/x: ${FIRST}`])
    assert.deepEqual(await next(listed('bk: b=2'), FIRST), [])
    await rot()
    await scrubbed(home, new Date().toISOString())
    assert.deepEqual(await next(both, SECOND), [])
  })
})
