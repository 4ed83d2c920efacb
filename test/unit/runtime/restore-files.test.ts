import assert from 'node:assert/strict'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { bringFiles, copyFromBox } from '../../../provision/runtime/restore-files.ts'
import { knoxError } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { openFolder } from '../../support/open-box.ts'

/** Files of a snapshot, brought by the real tar, find and cksum. */

const boxWithFiles = async (t: TestContext, patience?: number) => {
  const box = await openFolder(t, ignore, ['bk: a=1', 'bk/photos: a=1 b=2'], patience)
  await mkdir(join(box.files, '2015'))
  await writeFile(join(box.files, '2015', 'cat'), 'meow')
  await writeFile(join(box.files, '2015', 'it’s a dog!'), 'bark')
  const folder = join(box.dir, 'home')
  await mkdir(folder)
  const bring = (path: string, options: { snapshot?: string; source?: string } = {}) =>
    bringFiles(
      box.open,
      { source: 'bk/photos', snapshot: undefined, path, target: folder, ...options },
      folder,
      ignore,
    )
  return { ...box, folder, bring }
}

describe('files of a snapshot', () => {
  test('come from the newest one, or the one that is named, and are counted', async (t) => {
    const { bring, folder } = await boxWithFiles(t)
    assert.deepEqual(await bring('2015'), { snapshot: 'b', files: 2, target: join(folder, '2015') })
    assert.equal(await readFile(join(folder, '2015', 'cat'), 'utf8'), 'meow')
    assert.equal((await bring('2015/it’s a dog!', { snapshot: 'a' })).snapshot, 'a')
  })

  test('that are not there are named: dataset, snapshot or path', async (t) => {
    const { bring } = await boxWithFiles(t)
    await assert.rejects(bring('.', { source: 'bk/no' }), knoxError('config', /has no bk\/no@/))
    await assert.rejects(bring('.', { snapshot: 'c' }), knoxError('config', /has no bk\/photos@c/))
    await assert.rejects(bring('no/such'), knoxError('config', /there is no no\/such in bk\/photos@b/))
  })

  test('are compared for as long as a slow box needs to read them', async (t) => {
    const { bring, program } = await boxWithFiles(t, 3)
    await program('cksum', 'sleep 3.5; exec /usr/bin/cksum "$@"')
    assert.equal((await bring('2015')).files, 2)
  })

  test('keep their owner by its number: the name means another user at home', async (t) => {
    const { bring, program, files, folder } = await boxWithFiles(t)
    const owner = '--owner=daemon:4321 --group=daemon:4322'
    await program('tar', `case $1 in -cf) exec /usr/bin/tar ${owner} "$@" ;; esac; exec /usr/bin/tar "$@"`)
    await bring('2015')
    const { uid, gid } = await stat(join(folder, '2015', 'cat'))
    const mine = await stat(join(files, '2015', 'cat'))
    // only root can give files away
    const wanted = process.getuid?.() === 0 ? [4321, 4322] : [mine.uid, mine.gid]
    assert.deepEqual([uid, gid], wanted)
  })

  test('come with names that are not ASCII from a box whose root has a UTF-8 locale', async (t) => {
    const { open, dir, program, files, folder } = await boxWithFiles(t)
    await writeFile(join(files, '2015', 'Kätzchen'), 'miau')
    const wrap = (argv: readonly string[]) => ['env', 'LC_ALL=C.UTF-8', ...open.place.wrap(argv)]
    // bsdtar: in the C locale it marks names as bytes, and takes no others there than such
    await program(
      'tar',
      `case $1 in
  -cf)
    [ "$LC_ALL" = C ] || exec /usr/bin/tar --format=pax "$@"
    exec /usr/bin/tar --format=pax --pax-option=hdrcharset:=BINARY "$@" ;;
esac
tee ${dir}/stream | /usr/bin/tar "$@" && grep -q hdrcharset=BINARY ${dir}/stream`,
    )
    await copyFromBox({ ...open, place: { ...open.place, wrap } }, '2015', folder, ignore)
    assert.equal(await readFile(join(folder, '2015', 'Kätzchen'), 'utf8'), 'miau')
  })

  test('for which there is no room at home are no-space, and no broken connection', async (t) => {
    const { bring, program } = await boxWithFiles(t)
    const full =
      'head -c 1000 >/dev/null; echo "tar: ./2015/cat: Cannot write: No space left on device" >&2; exit 2'
    await program('tar', `case $1 in -cf) trap "" PIPE; cat /dev/zero 2>/dev/null; exit 255 ;; esac; ${full}`)
    await assert.rejects(
      bring('2015'),
      knoxError('no-space', /could not be written at home[^]*No space left/),
    )
  })

  test('that the box cannot read are failed, and a broken connection is told as one', async (t) => {
    const { bring, program, folder } = await boxWithFiles(t)
    await program(
      'tar',
      'case $1 in -cf) echo "tar: ./2015/cat: Input/output error" >&2; exit 1 ;; esac; cat',
    )
    await assert.rejects(bring('2015'), knoxError('failed', /could not read them[^]*Input\/output error/))
    await program('tar', 'case $1 in -cf) exit 255 ;; esac; cat')
    await assert.rejects(bring('2015'), knoxError('connection-lost', new RegExp(`${folder} holds a part`)))
  })

  test('that do not come are given up, but not while one of them grows', async (t) => {
    const { open, program, folder } = await boxWithFiles(t)
    const copy = (stalled: number) => copyFromBox(open, '2015', folder, ignore, stalled)
    const unpack = `cat >/dev/null`
    await program('tar', `case $1 in -cf) exec sleep 50 ;; esac; ${unpack}`)
    await assert.rejects(copy(1), knoxError('connection-lost', /did not answer for 1 s/))
    const grow = `for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n >>${folder}/cat; sleep 0.5; done`
    await program('tar', `case $1 in -cf) sleep 5.5; exit 0 ;; esac; ${grow}; ${unpack}`)
    await copy(4)
  })

  test('that are not the same as on the box are no success', async (t) => {
    const { bring, program, folder } = await boxWithFiles(t)
    await program('cksum', `case $PWD in ${folder}) echo rotten >2015/cat ;; esac; exec /usr/bin/cksum "$@"`)
    await assert.rejects(bring('2015'), knoxError('verification', /are not those of the box/))
  })
})
