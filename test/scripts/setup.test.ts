import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { quoteAll } from '../../provision/core/quote.ts'
import { CTRL_C, DOWN, ENTER, startPty } from '../support/pty.ts'
import { tempFolder, writeProgram } from '../support/expect.ts'

/** `knox setup` at a real terminal, up to where it needs the box; the rest of the road is walked in the lab. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const PASSPHRASE = 'correct horse battery staple'

const makeHome = async (t: TestContext, pools = 'tank\n') => {
  const dir = await tempFolder(t)
  await mkdir(join(dir, 'bin'))
  // a stand-in for zpool(8), `zpool list -H -o name` only
  await writeProgram(
    join(dir, 'bin'),
    'zpool',
    `[ "$*" = "list -H -o name" ] || exit 2; printf '${pools.replaceAll('\n', '\\n')}'`,
  )
  const env = { HOME: dir, PATH: `${dir}/bin:${process.env['PATH'] ?? ''}` }
  const at = (...words: readonly string[]) =>
    startPty([process.execPath, KNOX, 'setup', ...words], { cwd: dir, env })
  const without = (...words: readonly string[]) =>
    spawnSync(process.execPath, [KNOX, 'setup', ...words], {
      cwd: dir,
      env: { ...process.env, ...env },
      encoding: 'utf8',
    })
  return { dir, env, at, without }
}

const stopped = async (pty: ReturnType<typeof startPty>): Promise<void> => {
  pty.type(CTRL_C)
  assert.equal(await pty.ended, 130, pty.screen())
  assert.match(pty.screen(), /nothing is lost: knox setup goes on from here/)
}

describe('knox setup at a terminal', { concurrency: true }, () => {
  test('asks what only the owner knows, can be stopped at every question, and goes on there', async (t) => {
    const { dir, at } = await makeHome(t, 'tank\nzroot\n')
    const one = at()
    await one.see(/which pool is to be backed up\?/)
    await stopped(one)
    assert.ok(!(await readdir(dir)).includes('knox.yaml'))

    const two = at()
    await two.see(/which pool/)
    two.type(DOWN + ENTER)
    await two.see(/what shall the box be called\?/)
    await stopped(two)
    assert.ok(!(await readdir(dir)).includes('knox.yaml'))

    const board = at()
    await board.see(/which pool/)
    board.type(ENTER)
    await board.see(/be called\?/)
    board.type(ENTER)
    await board.see(/what is the box\?/)
    await stopped(board)
    assert.ok(!(await readdir(dir)).includes('knox.yaml'))

    const three = at()
    await three.see(/which pool/)
    three.type(DOWN + ENTER)
    await three.see(/be called\?/)
    three.type(`Bad;name${ENTER}`)
    await three.see(/is not a box name: expected lower-case letters/)
    three.type(`${'\b'.repeat(8)}attic${ENTER}`)
    await three.see(/what is the box\?/)
    three.type(ENTER)
    await three.see(/knox\.yaml: .*the pool zroot to the box attic \(rpi-b\)/)
    await three.see(/which user shall run it every day/)
    await stopped(three)

    const user = at()
    await user.see(/which user shall run it every day/)
    user.type(`ann;id${ENTER}`)
    await user.see(/is not the name of a user/)
    user.type('\b'.repeat(6) + ENTER)
    await user.see(/new passphrase of the keys/)
    await stopped(user)
    assert.match(await readFile(join(dir, 'knox.yaml'), 'utf8'), /name: attic/)

    const hasKey = async () =>
      (await readdir(join(dir, '.config/knox/attic')).catch((): string[] => [])).includes('geli.key')
    const four = at('--delegate', 'root')
    await four.see(/new passphrase of the keys/)
    four.type(PASSPHRASE + ENTER)
    await four.see(/\(again\)/)
    await stopped(four)
    assert.ok(!(await hasKey()))

    const five = at('--delegate', 'root')
    await five.see(/new passphrase of the keys/)
    five.type(`short${ENTER}`)
    await five.see(/the passphrase is shorter than 8 characters/)
    five.type('\b'.repeat(5) + PASSPHRASE + ENTER)
    await five.see(/\(again\)/)
    five.type(`something else${ENTER}`)
    await five.see(/the two passphrases differ: once more/)
    assert.ok(!(await hasKey()))
    await five.see(/new passphrase of the keys/)
    five.type(PASSPHRASE + ENTER)
    await five.see(/\(again\)/)
    five.type(PASSPHRASE + ENTER)
    await five.see(/keys: /)
    await five.see(/how far is it\?/)
    await stopped(five)
    assert.ok(!five.screen().includes(PASSPHRASE))

    const six = at()
    await six.see(/how far is it\?/)
    six.type(ENTER)
    await six.see(/its address\?/)
    six.type(`$(reboot)${ENTER}`)
    await six.see(/is not an address/)
    await stopped(six)

    const seven = at('--address', '127.0.0.1:1', '--box', 'ready')
    assert.equal(await seven.ended, 10)
    assert.match(seven.screen(), /does not answer at 127\.0\.0\.1:1/)
    assert.doesNotMatch(await readFile(join(dir, 'knox.yaml'), 'utf8'), /127\.0\.0\.1/)

    const laptop = at('--box', 'installed')
    await laptop.see(/its address\?/)
    laptop.type(ENTER)
    await laptop.see(/is not an address/)
    await stopped(laptop)
  })

  test('a card: the image, then the drive; can be stopped at both, and no drive is taken that is none', async (t) => {
    const { dir, at, without } = await makeHome(t)
    await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
    const flags = ['--passphrase-file', 'pass', '--delegate', 'root', '--name', 'knox', '--board', 'rpi-b']
    // this is no FreeBSD: build-image says what to do
    const bare = without(...flags, '--box', 'card')
    assert.deepEqual([bare.status, /FreeBSD/.test(bare.stderr)], [15, true], bare.stderr)
    const card = () => at('--box', 'card')
    const none = card()
    await none.see(/an image for it\? \(Enter: build it\)/)
    none.type(`nowhere.img${ENTER}`)
    await none.see(/there is no file /)
    await stopped(none)
    const image = 'knox-knox-10.2-2026-01-02.img'
    const bytes = Buffer.alloc(1024 * 1024)
    bytes.set([0x55, 0xaa], 510)
    await writeFile(join(dir, image), bytes)
    const one = card()
    await one.see(/an image for it\?/)
    await stopped(one)
    const two = card()
    await two.see(/an image for it\?/)
    two.type(image + ENTER)
    await two.see(/which of these drives is the card\?/)
    two.type(`sdb${ENTER}`)
    await two.see(/needs a path such as \/dev\/sdb/)
    await stopped(two)
    const three = card()
    await three.see(/an image for it\?/)
    three.type(image + ENTER)
    await three.see(/which of these drives is the card\?/)
    three.type(`/dev/knox-none${ENTER}`)
    assert.equal(await three.ended, 21, three.screen())
    assert.match(three.screen(), /\/dev\/knox-none[^]*nothing is lost: knox setup goes on from here/)
    assert.equal(without('--box', 'card', '--image', image, '--card', '/dev/knox-none').status, 21)
  })

  test('is readable at 60 columns and without colours', async (t) => {
    const { dir, env } = await makeHome(t)
    const words = [process.execPath, KNOX, 'setup']
    const narrow = startPty(words, { cwd: dir, env: { ...env, NO_COLOR: '1' }, columns: 60 })
    await narrow.see(/what shall the box be called\?/)
    narrow.type(ENTER)
    await narrow.see(/what is the box\?[^]*a Raspberry Pi, Model B/)
    narrow.type(ENTER)
    await narrow.see(/which user/)
    narrow.type(ENTER)
    await narrow.see(/new passphrase of the keys/)
    await stopped(narrow)
    // cursor movements only, no colour
    assert.doesNotMatch(narrow.raw(), /\u001b\[[0-9;]*m/)
  })

  test('asks on stderr, so that stdout can go into a pipe or a file', async (t) => {
    const { dir, env } = await makeHome(t, 'tank\nzroot\n')
    const line = quoteAll([process.execPath, KNOX, 'setup'])
    const pty = startPty(['/bin/sh', '-c', `${line} >out`], { cwd: dir, env })
    await pty.see(/which pool is to be backed up\?/)
    pty.type(ENTER)
    await pty.see(/what shall the box be called\?/)
    await stopped(pty)
    assert.equal(await readFile(join(dir, 'out'), 'utf8'), '')
  })

  test('at a dumb terminal asks nothing and says which flag answers, in plain lines', async (t) => {
    const { dir, env } = await makeHome(t, 'tank\nzroot\n')
    const pty = startPty([process.execPath, KNOX, 'setup'], { cwd: dir, env: { ...env, TERM: 'dumb' } })
    assert.equal(await pty.ended, 4)
    assert.match(pty.screen(), /nobody is at a terminal to answer: which pool[^]*--pool answers it/)
    assert.doesNotMatch(pty.raw(), /\u001b/)
  })
})

describe('knox setup without a terminal', { concurrency: true }, () => {
  test('takes its answers from flags, and says which one is missing', async (t) => {
    const { dir, without } = await makeHome(t, 'tank\nzroot\n')
    const asked = without()
    assert.equal(asked.status, 4)
    assert.match(
      asked.stderr,
      /nobody is at a terminal to answer: which pool[^]*--pool answers it[^]*goes on from here/,
    )
    assert.equal(without('--pool', 'nowhere').status, 2)
    assert.equal(without('--pool', 'tank', '--board', 'toaster').status, 2)
    assert.equal(without('--pool', 'tank', '--name', '../etc').status, 2)
    assert.ok(!(await readdir(dir)).includes('knox.yaml'))
    const keyless = without('--pool', 'tank')
    assert.deepEqual([keyless.status, /--passphrase-file/.test(keyless.stderr)], [4, true])
    await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
    const silent = without('--passphrase-file', 'pass', '--address', '127.0.0.1:1')
    assert.equal(silent.status, 10)
    assert.match(silent.stderr, /the box does not answer at 127\.0\.0\.1:1/)
    const road = without('--dry-run')
    assert.equal(road.status, 0)
    assert.match(
      road.stdout,
      /\[x\] knox\.yaml: .*\n\[x\] who runs it: root\n\[x\] keys: .*\n\[ \] the box: [^]*\[ \] the other house: /,
    )
  })

  test('as root it can let another user do it, and ends there', async (t) => {
    const { dir, without } = await makeHome(t)
    // a stand-in for zfs(8), `zfs allow` only, in the words of OpenZFS and FreeBSD
    await writeProgram(
      join(dir, 'bin'),
      'zfs',
      `case "$*" in
        'allow -u nobody-here '*) echo "cannot set permissions on 'tank': invalid user/group" >&2; exit 1 ;;
        'allow -u ann '*) [ -e ${dir}/deaf ] || echo "$4" >${dir}/rights ;;
        'allow tank') [ -e ${dir}/rights ] && printf -- '---- Permissions on tank ----\\nLocal+Descendent permissions:\\n\\tuser ann %s\\n' "$(cat ${dir}/rights)"; exit 0 ;;
        *) exit 2 ;;
      esac`,
    )
    assert.equal(without('--delegate', '-x').status, 2)
    const unknown = without('--delegate', 'nobody-here')
    assert.deepEqual([unknown.status, /there is no user nobody-here/.test(unknown.stderr)], [3, true])
    await writeFile(join(dir, 'deaf'), '')
    assert.equal(without('--delegate', 'ann').status, 14)
    await rm(join(dir, 'deaf'))
    const { status, stderr, stdout } = without('--delegate', 'ann')
    assert.equal(status, 0, stderr)
    assert.match(stderr, /zfs lets ann take and send snapshots of tank; all the rest is done by ann/)
    assert.doesNotMatch(stdout, /passphrase|keys/)
    assert.equal(await readFile(join(dir, 'rights'), 'utf8'), 'send,diff,snapshot,mount,hold,release\n')
  })

  test('without a pool on this machine says so', async (t) => {
    const { without } = await makeHome(t, '')
    const { status, stderr } = without()
    assert.deepEqual([status, /there is no ZFS pool on this machine/.test(stderr)], [3, true], stderr)
  })
})
