import assert from 'node:assert/strict'
import { readFile, rm, stat } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { bundleOf } from '../../provision/lab/bundle.ts'
import { PASSPHRASE, serveBox, startWorld, type World } from '../../provision/lab/world.ts'
import { lockedAgain } from '../support/lab.ts'
import { CTRL_C, ENTER, startPty, type Pty } from '../support/pty.ts'

/** `knox setup` at a terminal, from nothing to a proven backup of a real pool on the real box; stopped at every question. */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 256, box: 'bare' })
  await rm(`${world.dir}/knox.yaml`)
  await world.home('dd if=/dev/urandom of=photo bs=1M count=8')
})
after(() => world.stop())

const setup = (...words: readonly string[]): Pty =>
  startPty(
    [
      'node',
      '--no-deprecation',
      bundleOf('scripts/knox.ts'),
      'setup',
      '--config',
      `${world.dir}/knox.yaml`,
      ...words,
    ],
    // a question that is wrapped would not be found
    { cwd: world.dir, columns: 240 },
  )

/** Ctrl-C at this question: exit 130, nothing left open on the box. */
const stopAt = async (pty: Pty, question: RegExp): Promise<void> => {
  await pty.see(question, 120)
  pty.type(CTRL_C)
  assert.equal(await pty.ended, 130, pty.screen())
  await lockedAgain(world)
}

/** All that runs on the box is gone at once, and so is what is attached there; then its sshd answers again. */
const losePower = async (): Promise<void> => {
  await world.home(
    // but for the lab's own decryption: without it ZFS waits for ever for what is under way
    `for pid in $(ip netns pids box); do grep -qa geli-block "/proc/$pid/cmdline" || [ "$pid" = "$(cat ${world.dir}/sshd.pid)" ] || kill -9 "$pid" || :; done`,
  )
  await world.box(
    [
      'sleep 3; for n in $(seq 20); do zpool list -H wd >/dev/null 2>&1 || break; zpool export -f wd; sleep 1; done',
      'geli detach -f da0; pkill -9 -f "[g]eli-block"; rm -rf /var/run/knox',
    ].join('\n'),
  )
}

describe('knox setup', () => {
  test('makes knox.yaml and the keys, and waits for a box', async () => {
    const pty = setup()
    await pty.see(/box be called\?/)
    pty.type(ENTER)
    await pty.see(/what is the box\?/)
    pty.type(ENTER)
    await stopAt(pty, /which user shall run it every day/)
    const user = setup()
    await user.see(/which user/)
    user.type(`nobody${ENTER}`)
    assert.equal(await user.ended, 0, user.screen())
    assert.match(user.screen(), /zfs lets nobody take and send snapshots of tank/)
    // the mode that udev gives it elsewhere
    await world.home('chmod 666 /dev/zfs')
    await world.home(
      'su -s /bin/sh nobody -c "zfs snapshot tank@by-nobody && zfs send -p tank@by-nobody | wc -c"; zfs destroy tank@by-nobody',
    )
    const root = setup()
    await root.see(/which user/)
    root.type(ENTER)
    await root.see(/new passphrase of the keys/)
    root.type(PASSPHRASE + ENTER)
    await root.see(/\(again\)/)
    root.type(PASSPHRASE + ENTER)
    await stopAt(root, /how far is it\?/)
    assert.match(await readFile(`${world.dir}/knox.yaml`, 'utf8'), /pool: tank/)
  })

  test('finds the box by its host key; can be stopped at the passphrase and at the disk', async () => {
    await serveBox(world)
    const pty = setup()
    await pty.see(/how far is it\?/, 120)
    pty.type(ENTER)
    await pty.see(/its address\?/)
    pty.type(ENTER)
    await pty.see(/10\.77\.0\.2 is the box’s first address/, 120)
    await pty.see(/the box: knox answers at 10\.77\.0\.2, proved by its host key; its disk is locked/, 60)
    await stopAt(pty, /passphrase of the keys/)
    const again = setup()
    await again.see(/passphrase of the keys/, 120)
    again.type(PASSPHRASE + ENTER)
    await stopAt(again, /will be lost; type LAB-0001 or LAB Virtual Disk to go on/)
    const wrong = setup()
    await wrong.see(/passphrase of the keys/, 120)
    wrong.type(PASSPHRASE + ENTER)
    await wrong.see(/to go on:/, 60)
    wrong.type(`da0${ENTER}`)
    assert.equal(await wrong.ended, 4)
    assert.match(wrong.screen(), /not confirmed, nothing was changed/)
    await lockedAgain(world)
  })

  test('a box that loses power while its disk is prepared: the rerun begins the disk anew', async () => {
    const cut = setup()
    await cut.see(/passphrase of the keys/, 120)
    cut.type(PASSPHRASE + ENTER)
    await cut.see(/to go on:/, 60)
    cut.type(`lab-0001${ENTER}`)
    // once there is a pool the disk is kept
    await cut.see(/attaching, to prove that the key opens it/, 240)
    await losePower()
    assert.notEqual(await cut.ended, 0)
    assert.match(cut.screen(), /knox setup goes on from here/)
    const pty = setup()
    await pty.see(/passphrase of the keys/, 120)
    pty.type(PASSPHRASE + ENTER)
    await pty.see(/whose preparation was cut off: it begins anew/, 240)
    await pty.see(/to go on:/, 60)
    pty.type(`lab-0001${ENTER}`)
    await pty.see(/the box’s disk: da0 is encrypted/, 240)
    await pty.see(/a snapshot: tank@/, 60)
    await pty.see(/unlocking the disk/, 120)
    await losePower()
    await pty.see(/the first backup: 1 datasets proved/, 600)
    await stopAt(pty, /a file on a USB stick/)
  })

  test('copies the keys, writes the schedule, and ends with all of it done', async () => {
    const first = setup()
    await first.see(/a file on a USB stick/, 120)
    first.type(`${world.dir}/stick.tar${ENTER}`)
    await stopAt(first, /new passphrase of the file/)
    const second = setup('--keys-backup', `${world.dir}/stick.tar`)
    await second.see(/new passphrase of the file/, 120)
    second.type(PASSPHRASE + ENTER)
    await stopAt(second, /\(again\)/)
    await assert.rejects(stat(`${world.dir}/stick.tar`))
    const pty = setup('--keys-backup', `${world.dir}/stick.tar`)
    await pty.see(/new passphrase of the file/, 120)
    pty.type(PASSPHRASE + ENTER)
    await pty.see(/\(again\)/)
    pty.type(PASSPHRASE + ENTER)
    await pty.see(/copy of the keys: /, 120)
    await stopAt(pty, /when shall it run/)
    assert.equal((await stat(`${world.dir}/stick.tar`)).mode & 0o777, 0o600)
    const placed = setup('--time', '3:15')
    await stopAt(placed, /in the other house\?/)
    const last = setup()
    await last.see(/in the other house\?/, 120)
    last.type(ENTER)
    assert.equal(await last.ended, 0, last.screen())
    assert.match(
      last.screen(),
      /\[x\] the first backup: [^]*\[x\] copy of the keys: [^]*\[ \] the other house: /,
    )
    assert.match(
      await world.home('crontab -l'),
      /^15 3 \* \* \* \/bin\/sh -c 'PATH=\S+ \S+ \S+ snapback --config /m,
    )
    assert.ok(!last.screen().includes(PASSPHRASE))
    await lockedAgain(world)
  })

  test('once more without a terminal finds all of it done', async () => {
    const output = await world.knox('setup')
    assert.equal(output.exitCode, 0, output.stderr)
    assert.equal(output.stdout.match(/^\[x\] /gm)?.length, 9)
    await lockedAgain(world)
  })
})
