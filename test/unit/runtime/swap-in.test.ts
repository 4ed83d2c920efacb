import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { OVERRIDDEN } from '../../../provision/runtime/own-settings.ts'
import { tempFolder, writeProgram } from '../../support/expect.ts'

/** The commands of docs/swap-in.md, run as they stand there. */

const read = (path: string) => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** It knows the words of the page, and says them back as lines; snapshots and their holds are in a file. */
const ZFS = `
here=$(dirname "$0")
case "$1 $2" in
  'list -H') [ "$*" = "list -H -r -t snapshot -o name wd" ] && exec cut -f 1 "$here/snapshots"
    [ "$*" = "list -H -r -t snapshot -o name,userrefs wd" ] && exec cat "$here/snapshots" ;;
  'inherit -rS') [ $# = 4 ] && [ "$4" = wd ] && echo "back $3" >>"$here/said" && exit ;;
  'inherit knox:destroyed') [ "$*" = 'inherit knox:destroyed wd' ] && echo 'spent is gone' >>"$here/said" && exit ;;
  'inherit knox:anchor' | 'release knox')
    verb=$1
    shift 2
    for name; do echo "$verb $name" >>"$here/said"; done
    exit ;;
esac
echo "unexpected: $*" >&2
exit 64`

describe('the page on a swap-in', () => {
  test('brings back every setting that the box overrides, releases what is held, and unmarks all', async (t) => {
    const dir = await tempFolder(t)
    await writeProgram(dir, 'zfs', ZFS)
    await writeFile(join(dir, 'snapshots'), 'wd@a\t0\nwd/two words@b 1\t1\nwd/x!@c\t2\n')
    const [, block = ''] = /```sh\n([^]*?)```/.exec(await read('docs/swap-in.md')) ?? []
    for (const shell of [['dash'], ['bash', '--posix']]) {
      await writeFile(join(dir, 'said'), '')
      const [program = '', ...words] = shell
      const env = { PATH: `${dir}:${process.env['PATH'] ?? ''}` }
      const { status, stderr } = spawnSync(program, [...words, '-euc', block], {
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      assert.deepEqual([status, stderr], [0, ''])
      assert.deepEqual((await readFile(join(dir, 'said'), 'utf8')).split('\n').slice(0, -1), [
        ...OVERRIDDEN.map((property) => `back ${property}`),
        'spent is gone',
        ...['release wd/two words@b 1', 'release wd/x!@c'],
        ...['inherit wd@a', 'inherit wd/two words@b 1', 'inherit wd/x!@c'],
      ])
    }
  })

  test('and a restore know each setting and mark that the box’s script makes', async () => {
    const script = await read('templates/knox-zfs-receive.sh.hbs')
    const inLoop =
      /for setting in (.*); do/
        .exec(script)?.[1]
        ?.split(' ')
        .map((word) => word.split('=')[0] ?? '') ?? []
    const said = [...script.matchAll(/zfs (?:set|create -o) "?([a-z:]+)=/g)].map(([, name = '']) => name)
    const made = [...said, ...inLoop]
    assert.ok(made.includes('quota') && made.includes('readonly'))
    const known = new Set<string>([...OVERRIDDEN, 'knox:anchor', 'knox:destroyed'])
    assert.deepEqual(
      made.filter((name) => !known.has(name)),
      [],
    )
  })
})
