import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { KnoxError } from '../../../provision/core/errors.ts'
import type { Emit } from '../../../provision/core/events.ts'
import { inTheWay, ownSnapshots } from '../../../provision/runtime/own-snapshots.ts'
import { beginRestoring, readRestoring } from '../../../provision/runtime/restoring.ts'
import { bringDatasets } from '../../../provision/runtime/restore.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { openFolder } from '../../support/open-box.ts'
import { inventory } from '../../support/simulated-box.ts'

/** Datasets of the box, brought home by stand-ins for zfs on both sides. */

/** `here` lists what home has, `own` what the box has set for itself; what is received is in `arrives`, and what is asked in `calls`. */
const zfs = (dir: string) => `
cd ${dir}
echo "$*" >>calls
case "$*" in
  'list -H -r -t filesystem,volume -o name,receive_resume_token wd') cat tokens 2>/dev/null || exit 2 ;;
  'list -H -t filesystem -o name,canmount,mountpoint') cat places 2>/dev/null || : ;;
  list*) cat here ;;
  'get -Hp -r -s local -t filesystem,volume -o name,property,received '*) cat own ;;
  'send -n -P -v -t '*) cat token 2>/dev/null || { cat why >&2; exit 1; } ;;
  'send -P -v '*) head -c 1000 /dev/zero ;;
  'receive -A '*) ;;
  receive*) cat restoring.json >remembered; cat >/dev/null; cat arrives >here ;;
  create*) ;;
  'set '* | 'inherit '*) if [ "$*" = "$(cat fails 2>/dev/null)" ]; then echo 'out of space' >&2; exit 1; fi ;;
  *) echo "unexpected: $*" >&2; exit 64 ;;
esac`

const linesOf = (...lines: readonly string[]): string =>
  inventory(...lines)
    .flatMap(({ name, snapshots }, n) => [
      `${name}\tfilesystem\t9${n}\t1\t-\n`,
      ...snapshots.map((one) => `${name}@${one.name}\tsnapshot\t${one.guid}\t${one.createtxg}\t0\n`),
    ])
    .join('')

const BOX = ['bk: a=1', 'bk/photos: a=2', 'bk/photos/old: a=3']

const world = async (t: TestContext, emit: Emit = ignore) => {
  const box = await openFolder(t, ignore, BOX)
  await box.program('zfs', zfs(box.dir))
  const file = (name: string, text: string) => writeFile(join(box.dir, name), text)
  await file('here', linesOf('wd: x=77'))
  await file('arrives', linesOf('wd: x=77', 'wd/again: a=2', 'wd/again/old: a=3'))
  await file('own', '')
  const calls = async (pattern: RegExp) =>
    (await readFile(join(box.dir, 'calls'), 'utf8')).split('\n').filter((line) => pattern.test(line))
  const bring = (options: { source?: string; target?: string; overwrite?: boolean } = {}) =>
    bringDatasets(
      box.open,
      box.dir,
      { source: 'bk/photos', target: 'wd/again', overwrite: false, ...options },
      emit,
    )
  return { file, calls, bring, dir: box.dir }
}

describe('a dataset from the box', () => {
  test('comes with all below it, and is counted', async (t) => {
    const { bring, calls } = await world(t)
    const report = await bring()
    assert.deepEqual([report.target, report.datasets, report.snapshots], ['wd/again', 2, 2])
    assert.deepEqual(await calls(/^receive/), ['receive -u wd/again', 'receive -u wd/again/old'])
  })

  test('gets back what home had set and the box has overridden, and nothing that it inherits', async (t) => {
    const { bring, file, calls } = await world(t)
    const own = [
      'bk/photos\tcanmount\t-',
      'bk/photos\tquota\t1073741824',
      'bk/photos\treservation\t-',
      'bk/photos\tdedup\tverify',
      'bk/photos/old\tcanmount\toff',
      'bk/photos/old\treadonly\t-',
      'bk/photos/old\tdedup\t-',
      'bk/photos/old\trefquota\t-',
    ]
    await file('own', `${own.join('\n')}\n`)
    await bring()
    assert.deepEqual(await calls(/^(set|inherit)/), [
      'set canmount=on wd/again',
      'set quota=1073741824 wd/again',
      'set dedup=verify wd/again',
      'set canmount=off wd/again/old',
      'inherit readonly wd/again/old',
      'inherit dedup wd/again/old',
    ])
    const [asked = ''] = await calls(/^get/)
    const words = 'readonly,compression,dedup,canmount,quota,refquota,reservation,refreservation bk/photos'
    assert.ok(asked.endsWith(` ${words}`), asked)
  })

  test('of which a setting cannot be brought back is partial, and all others are', async (t) => {
    const { bring, file, calls } = await world(t)
    await file('own', 'bk/photos\treservation\t5000\nbk/photos/old\tcanmount\t-\n')
    await file('fails', 'set reservation=5000 wd/again')
    const failure = /all snapshots are in wd\/again[^]*zfs set reservation=5000 wd\/again: .*[^]*out of space/
    await assert.rejects(bring(), knoxError('partial', failure))
    assert.deepEqual((await calls(/^set/)).at(-1), 'set canmount=on wd/again/old')
  })

  test('is not mounted over its original, nor what is below it, and the other is told', async (t) => {
    const said: string[] = []
    const { bring, file, calls } = await world(t, (event) => {
      if (event.type === 'warning') said.push(event.text)
    })
    await file('own', 'bk/photos\tcanmount\t-\nbk/photos/old\tcanmount\t-\n')
    const places = [
      'wd\ton\t/wd',
      'wd/photos\ton\t/home/me',
      'wd/again\tnoauto\t/home/me',
      'wd/again/old\tnoauto\t/home/me/old',
    ]
    await file('places', `${places.join('\n')}\n`)
    await bring()
    assert.deepEqual(await calls(/^set/), [])
    assert.match(
      said.join('\n'),
      /over others here: wd\/again over wd\/photos, wd\/again\/old over wd\/photos$/,
    )
    await file('places', `${places.map((line) => line.replace('photos\ton', 'photos\toff')).join('\n')}\n`)
    await bring()
    assert.deepEqual(await calls(/^set/), ['set canmount=on wd/again', 'set canmount=on wd/again/old'])
  })

  test('that did not all arrive is no success', async (t) => {
    const { bring, file } = await world(t)
    await file('arrives', linesOf('wd: x=77', 'wd/again: a=2'))
    await assert.rejects(bring(), knoxError('verification', /not all at home: .*old/))
  })

  test('that the box does not have, or whose place is taken, is refused before anything comes', async (t) => {
    const { bring, file, calls } = await world(t)
    await assert.rejects(bring({ source: 'bk/no' }), knoxError('config', /has no dataset bk\/no/))
    await file('here', linesOf('wd: x=77', 'wd/again: m=9'))
    await assert.rejects(bring(), knoxError('refused', /holds something else/))
    await file('here', linesOf('wd: x=77', 'wd/again:'))
    await assert.rejects(bring(), knoxError('refused', /is there already/))
    assert.deepEqual(await calls(/^(receive|send -P|set|inherit|create)/), [])
    await bring({ overwrite: true })
    assert.equal((await calls(/^receive/))[0], 'receive -u -F wd/again')
  })
})

describe('a restore under way', () => {
  const restoring = { version: 1, restores: [{ source: 'bk/photos', target: 'wd/again' }] }

  test('is remembered before the first stream comes, and until all is there', async (t) => {
    const { bring, file, dir } = await world(t)
    const text = (name: string) => readFile(join(dir, name), 'utf8')
    await file('arrives', linesOf('wd: x=77', 'wd/again: a=2'))
    await assert.rejects(bring(), knoxError('verification'))
    assert.deepEqual(JSON.parse(await text('remembered')), restoring)
    assert.equal((await stat(join(dir, 'restoring.json'))).mode & 0o777, 0o600)
    assert.deepEqual(await readRestoring(dir), restoring.restores)
    await file('arrives', linesOf('wd: x=77', 'wd/again: a=2', 'wd/again/old: a=3'))
    await bring()
    assert.deepEqual(await readRestoring(dir), [])
  })

  test('is over when all snapshots are there, whatever became of a setting', async (t) => {
    const { bring, file, dir } = await world(t)
    await file('own', 'bk/photos\treservation\t5000\n')
    await file('fails', 'set reservation=5000 wd/again')
    await assert.rejects(bring(), knoxError('partial'))
    assert.deepEqual(await readRestoring(dir), [])
  })

  test('leaves another one remembered, and one that is refused is not', async (t) => {
    const { bring, file, dir } = await world(t)
    const other = { source: 'bk/docs', target: 'wd/docs-again' }
    await beginRestoring(dir, other)
    await file('here', linesOf('wd: x=77', 'wd/again:'))
    await assert.rejects(bring(), knoxError('refused'))
    assert.deepEqual(await readRestoring(dir), [other])
    await bring({ overwrite: true })
    assert.deepEqual(await readRestoring(dir), [other])
  })

  test('is not guessed from a file that is damaged', async (t) => {
    const { dir, file, bring, calls } = await world(t)
    await file('restoring.json', '{"version":1,"restores":[{"source":"bk","target":"-r"}]}')
    await assert.rejects(readRestoring(dir), knoxError('config', /restoring\.json is not understood/))
    await assert.rejects(bring(), knoxError('config'))
    assert.deepEqual(await calls(/^receive/), [])
  })
})

describe('snapshots that only home has', () => {
  const refusal = async (t: TestContext, ...here: readonly string[]) => {
    const { bring, file, calls } = await world(t)
    await file('here', linesOf('wd: x=77', ...here))
    const error = await thrownBy(bring)
    assert.ok(knoxError('refused', /holds something else/)(error))
    assert.deepEqual(await calls(/^(receive|send -P|destroy|create)/), [])
    return (error as KnoxError).hints
  }

  test('are named by the commands that let the restore go on, also with --overwrite', async (t) => {
    const hints = await refusal(t, 'wd/again: a=2 hourly=8', 'wd/again/old: m=9 n=10')
    assert.deepEqual(
      hints.filter((hint) => hint.startsWith('zfs')),
      ['zfs destroy wd/again@hourly', 'zfs destroy wd/again/old@m', 'zfs destroy wd/again/old@n'],
    )
    const { bring, file } = await world(t)
    await file('here', linesOf('wd: x=77', 'wd/again: m=9'))
    await assert.rejects(bring({ overwrite: true }), knoxError('refused', /^zfs destroy wd\/again@m$/m))
  })

  test('are in the way with a name that is still to come, and not if older ones are theirs alone', () => {
    const box = inventory('bk: a=1 b=2 c=3')
    const own = (line: string) => ownSnapshots(box, inventory(line), (name) => name.replace('bk', 'wd'))
    assert.deepEqual(own('wd: a=1 b=2'), [])
    assert.deepEqual(own('wd: z=7 b=2'), [])
    assert.deepEqual(own('wd: c=7 b=2'), [{ name: 'wd@c', held: false }])
    assert.deepEqual(own('wd: b=2 z=7'), [{ name: 'wd@z', held: false }])
    assert.deepEqual(own('wd:'), [])
  })

  test('are counted where there are many, quoted, and told to be held', () => {
    const many = Array.from({ length: 13 }, (_, n) => ({ name: `wd/my photos@${n}`, held: n === 12 }))
    const { hints } = inTheWay(many, 'bk', 'wd')
    assert.equal(hints.filter((hint) => hint.startsWith('zfs destroy')).length, 10)
    assert.match(
      hints.join('\n'),
      /^zfs destroy 'wd\/my photos@0'$[^]*^and 3 more: .*[^]*zfs holds 'wd\/my photos@12'$/m,
    )
  })
})

describe('a restore that was interrupted', () => {
  const tokens = 'wd\t-\nwd/again\t1-abc\n'

  test('goes on with what the box still has', async (t) => {
    const { bring, file, calls } = await world(t)
    await file('tokens', tokens)
    await file('token', '\ttoguid = 0x2\n\ttoname = bk/photos@a\nsize\t500\n')
    await bring()
    assert.equal((await calls(/^send -P/))[0], 'send -P -v -t 1-abc')
    assert.deepEqual(await calls(/^receive -A/), [])
  })

  test('begins anew with what the box no longer has', async (t) => {
    const { bring, file, calls } = await world(t)
    await file('tokens', tokens)
    await file('why', "cannot resume send: 'bk/photos@z' used in the initial send no longer exists\n")
    await bring()
    assert.deepEqual(await calls(/^receive -A/), ['receive -A wd/again'])
  })
})
