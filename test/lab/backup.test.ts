import assert from 'node:assert/strict'
import { stat, writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { bundleOf } from '../../provision/lab/bundle.ts'
import { startWorld, type World } from '../../provision/lab/world.ts'
import {
  ended,
  hashes,
  lockedAgain,
  lockedInTime,
  newestSnapshot,
  prepareDisk,
  provedAt,
  withOpenDisk,
} from '../support/lab.ts'

/** A box's good days: its disk is prepared, the first backup, changes. The tests build on one another. */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 512, tankMib: 768 })
})
after(() => world.stop())

describe('prepare-disk', () => {
  test('refuses a disk that is in use, and changes nothing', async () => {
    await world.home('echo "0 2048 linear /dev/dm-0 0" | DM_DISABLE_UDEV=1 dmsetup create user')
    ended(await prepareDisk(world, '--yes', '--erase'), 4, /in use/)
    await world.home('DM_DISABLE_UDEV=1 dmsetup remove user')
    await lockedAgain(world)
  })

  test('refuses a disk that holds data unless --erase is said', async () => {
    await world.home('echo photographs | dd of=/dev/da0 bs=512 seek=10 conv=notrunc')
    ended(await prepareDisk(world, '--yes'), 4, /not empty/)
    assert.match(await world.home('dd if=/dev/da0 bs=512 skip=10 count=1 | head -c 11'), /photographs/)
  })

  test('wants a confirmation where nobody can be asked', async () => {
    ended(await prepareDisk(world, '--erase'), 4, /nobody is at a terminal/)
  })

  test('shows its commands in a dry run and changes nothing', async () => {
    const output = await prepareDisk(world, '--erase', '--dry-run')
    ended(output, 0, /geli init .* \/dev\/da0/)
    assert.match(await world.home('dd if=/dev/da0 bs=512 skip=10 count=1 | head -c 11'), /photographs/)
  })

  test('refuses a wrong passphrase', async () => {
    await writeFile(`${world.dir}/wrong`, 'not the passphrase\n')
    ended(
      await world.knox('prepare-disk', '--yes', '--passphrase-file', `${world.dir}/wrong`),
      12,
      /passphrase/,
    )
  })

  test('that is killed in the middle begins anew, with nothing to be erased by hand', async () => {
    await world.home(
      [
        `node --no-deprecation ${bundleOf('scripts/knox.ts')} prepare-disk --yes --erase --config ${world.dir}/knox.yaml --passphrase-file ${world.dir}/passphrase >${world.dir}/cut 2>&1 &`,
        `n=0; until grep -q '^making the pool wd \\.\\.\\.$' ${world.dir}/cut || [ $n -gt 600 ]; do sleep 0.2; n=$((n + 1)); done`,
        'kill -9 $!',
      ].join('\n'),
    )
    await world.home(
      'n=0; while pgrep -f "[s]sh-agent|[k]nox-shell" && [ $n -lt 30 ]; do sleep 1; n=$((n + 1)); done; ! pgrep -fa "[s]sh-agent|[k]nox-shell"',
    )
    // what had begun on the box goes on there; a whole pool would be kept as it is
    await world.home(
      'n=0; until zpool list wd >/dev/null 2>&1 || [ $n -ge 30 ]; do sleep 1; n=$((n + 1)); done; zpool destroy wd || :',
    )
    const again = await prepareDisk(world, '--yes', '--speed')
    ended(again, 0, /whose preparation was cut off: it begins anew/)
    assert.match(
      again.stderr,
      /\/dev\/da0 is written at .*\/s[^]*\/dev\/da0\.eli is written at .*\/s[^]*through ssh/,
    )
    await lockedAgain(world)
  })

  test('has encrypted, made the pool and brought the metadata home; said again, it keeps that, and the disk is locked', async () => {
    ended(await prepareDisk(world, '--yes', '--erase'), 0, /stays as it was, and is locked/)
    await lockedAgain(world)
    const metadata = await stat(`${world.dir}/keys/geli-metadata-da0.bin`)
    assert.equal(metadata.mode & 0o777, 0o600)
    await withOpenDisk(world, async () => {
      const { stdout } = await world.box(
        'zfs get -Hp -o property,value atime,compression,canmount,mountpoint wd',
      )
      assert.match(stdout, /atime\toff[^]*compression\tlz4[^]*canmount\toff[^]*mountpoint\tnone/)
    })
  })

  test('does not take a disk of another key, that may hold a backup, for a new one', async () => {
    await world.home(
      'cd ../keys; mkdir aside; mv geli.key geli-metadata-* aside; head -c 1024 /dev/urandom >geli.key; chmod 600 geli.key',
    )
    ended(await prepareDisk(world, '--yes'), 4, /may hold a backup/)
    await world.home('cd ../keys; mv aside/* .; rmdir aside')
  })
})

describe('backup', () => {
  test('says what to do before there is a snapshot', async () => {
    ended(await world.knox('backup'), 5, /has no snapshot[^]*knox snapshot/)
    await lockedAgain(world)
  })

  test('proves a first backup of a tree with a volume, odd names and hostile properties', async () => {
    await world.home(
      [
        'zfs create -o quota=1G tank/photos',
        'zfs create "tank/with blanks : and.dots"',
        'zfs create -V 16M tank/photos/disk',
        'zfs create -o canmount=noauto -o mountpoint=/etc -o sharenfs=on -o sharesmb=on tank/hostile',
        'zfs create -o compression=gzip -o recordsize=16K -o knox:word="a word" tank/photos/2015',
        'dd if=/dev/urandom of=photos/one bs=1M count=20',
        'echo "Zürich ☂" > "photos/ünïcode ☂ name"',
        'dd if=/dev/urandom of=/dev/zvol/tank/photos/disk bs=1M count=4 || dd if=/dev/urandom of=$(ls /dev/zd* | head -n 1) bs=1M count=4',
        'cp photos/one "with blanks : and.dots/two"',
      ].join('\n'),
    )
    ended(await world.knox('snapshot'), 0, /snapshot tank@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/)
    ended(await world.knox('preview'), 0, /tank\/photos: all of/)
    const mounts = await world.box('cat /proc/mounts')
    const output = await world.knox('backup', '--json')
    ended(output, 0)
    const report = JSON.parse(output.stdout) as { outcome: string; delivered: number; problems: unknown[] }
    assert.deepEqual([report.outcome, report.delivered, report.problems], ['sent', 6, []])
    await lockedAgain(world)
    assert.equal((await world.box('cat /proc/mounts')).stdout, mounts.stdout)
  })

  test('what arrived is what was sent, file by file, and its properties came along', async () => {
    const snapshot = await newestSnapshot(world)
    const wanted = await hashes(world, `tank/photos@${snapshot}`)
    assert.equal(wanted.trim().split('\n').length, 2)
    await withOpenDisk(world, async () => {
      assert.equal(await hashes(world, `wd/photos@${snapshot}`), wanted)
      const { stdout } = await world.box(
        'zfs get -Hp -o value compression,recordsize,knox:word wd/photos/2015',
      )
      assert.equal(stdout, 'gzip\n16384\na word\n')
      const { stdout: local } = await world.box('zfs get -Hp -o value readonly,canmount wd')
      assert.equal(local, 'on\nnoauto\n')
      // home's limits came along, but are not the box's; what the pool was made with is there again (facts 11.24)
      const { stdout: limits } = await world.box(
        'zfs get -H -o value,received quota wd/photos; zfs get -H -o value refreservation wd/photos/disk; zfs get -H -o value compression wd',
      )
      assert.equal(limits, 'none\t1G\nnone\nlz4\n')
    })
  })

  test('data at rest on the disk is not the data', async () => {
    await world.home('printf "a line that nobody else may read %.0s" $(seq 1000) > photos/plain')
    ended(await world.knox('snapback'), 0)
    await world.home('sync')
    assert.equal(
      (await world.home(`grep -c "nobody else may read" ${world.dir}/tank.img || :`)).trim() === '0',
      false,
    )
    assert.equal((await world.home(`grep -c "nobody else may read" ${world.dir}/da0.img || :`)).trim(), '0')
  })

  test('a run with nothing to send opens one connection, one zfs, and leaves the disk locked', async () => {
    await world.started()
    const before = await provedAt(world)
    ended(await world.knox('backup'), 0, /nothing to send/)
    const started = await world.started()
    assert.deepEqual(started.map((line) => line.split(' ')[0]).sort(), ['ssh', 'zfs'])
    assert.equal(await provedAt(world), before)
  })

  test('a run that looks opens exactly two connections and one zfs, however many datasets there are', async () => {
    await world.started()
    ended(await world.knox('backup', '--prove'), 0, /disk locked/)
    const few = (await world.started()).map((line) => line.split(' ')[0]).sort()
    assert.deepEqual(few, ['ssh', 'ssh', 'zfs'])
    await world.home('for n in $(seq 8); do zfs create tank/many$n; done')
    ended(await world.knox('snapback'), 0)
    await world.started()
    ended(await world.knox('backup', '--prove'), 0, /1[45] datasets/)
    assert.deepEqual((await world.started()).map((line) => line.split(' ')[0]).sort(), few)
    await lockedAgain(world)
  })

  test('an incremental carries changes, new datasets and renames, over two connections', async () => {
    const proved = await newestSnapshot(world)
    await world.home(
      'echo more > photos/three; rm photos/one; zfs create tank/new; zfs rename tank/photos tank/pictures; ' +
        `for n in $(seq 8); do zfs release knox:knox tank/many$n@${proved}; zfs destroy -r tank/many$n; done`,
    )
    ended(await world.knox('snapshot'), 0)
    const preview = await world.knox('preview')
    ended(preview, 0, /rename on the box: wd\/photos to wd\/pictures/)
    assert.match(preview.stdout, /new +.*three[^]*|removed +.*one/)
    await world.started()
    ended(
      await world.knox('backup'),
      4,
      /no longer at home, but on the box: tank\/many1, [^]*--accept-deletions/,
    )
    assert.equal((await world.started()).filter((line) => line.startsWith('ssh ')).length, 2)
    const snapshot = await newestSnapshot(world)
    const wanted = await hashes(world, `tank/pictures@${snapshot}`)
    await withOpenDisk(world, async () =>
      assert.equal(await hashes(world, `wd/pictures@${snapshot}`), wanted),
    )
    await lockedAgain(world)
  })

  test('what has vanished at home is told again, until the owner says that it is meant; nothing goes at once', async () => {
    ended(await world.knox('backup'), 4, /nothing to send[^]*no longer at home/)
    ended(await world.knox('backup', '--accept-deletions'), 0)
    ended(await world.knox('backup'), 0, /nothing to send/)
    await withOpenDisk(world, async () => {
      const { stdout } = await world.box('zfs list -H -r -t snapshot -o name,userrefs wd/many1 wd/pictures')
      const lines = stdout.trim().split('\n')
      assert.match(lines.find((line) => line.startsWith('wd/many1@')) ?? '', /\t1$/)
      assert.match(lines.filter((line) => line.startsWith('wd/pictures@')).at(-1) ?? '', /\t1$/)
    })
  })

  test('status tells both sides, and what only the box still has', async () => {
    const output = await world.knox('status')
    ended(output, 0, /last proof/)
    assert.match(output.stdout, /tank\/pictures +proved/)
    assert.match(output.stdout, /wd\/many1 +only on the box/)
  })
})

describe('whoever holds the two passwordless keys', () => {
  // any run writes the ssh_config that is used here
  before(() => world.knox('backup'))

  const ssh = (login: string, words: string, stdin = '/dev/null') =>
    world.home(
      `code=0; ssh -F ${world.dir}/keys/ssh_config -T -o HostName=10.77.0.2 ${login} ${words} <${stdin} 2>&1 || code=$?; echo "exit $code"`,
    )

  test('gets no command, no shell and no terminal', async () => {
    assert.match(
      await ssh('knox-send', "'touch /tmp/pwned; id'"),
      /failed usage no command is taken here[^]*exit 64/,
    )
    assert.match(await ssh('knox-fifo', "'$(touch /tmp/pwned)'"), /failed usage no command is taken here/)
    assert.match(await ssh('knox-send', '-tt'), /PTY allocation request failed|knox 1 knox/)
    await world.home('test ! -e /tmp/pwned')
    // ssh may give up on the terminal before the box has ended its side
    await lockedInTime(world)
  })

  test('cannot leave a key where nobody waits', async () => {
    assert.match(await ssh('knox-fifo', '', `${world.dir}/keys/geli.key`), /nobody waits for a key/)
    await lockedAgain(world)
  })

  test('and the disk’s key too, can destroy no anchor, nor the newest, nor roll back', async () => {
    const snapshots = async () => {
      let text = ''
      await withOpenDisk(world, async () => {
        text = (await world.box('zfs list -H -r -t snapshot -o name,guid,userrefs wd/pictures')).stdout
      })
      return text
    }
    const before = await snapshots()
    const [first = '', last = ''] = [before.split('\n')[0], before.trim().split('\n').at(-1)].map(
      (line) => /@(.*?)\t/.exec(line ?? '')?.[1] ?? '',
    )
    assert.notEqual(first, last)
    const lines = [
      `destroy\twd/pictures\t${last}`,
      `destroy\twd/pictures\t${first}`,
      `destroy\twd/pictures\t${first}%${last}`,
      'receive\tfull\twd/pictures',
      `receive\tincremental\twd/pictures@${first}`,
      'rename\twd/pictures\ttank/pictures',
      'rollback\twd/pictures',
      'bye',
    ]
    await writeFile('/tmp/lines', `${lines.join('\n')}\n`)
    const said = await world.home(
      `ssh=$(echo ssh -F ${world.dir}/keys/ssh_config -T -o HostName=10.77.0.2)
       mkfifo /tmp/to /tmp/from; $ssh knox-send </tmp/to >/tmp/from 2>&1 & exec 8>/tmp/to 9</tmp/from
       read -r hello <&9; printf 'unlock\\n' >&8; read -r waiting <&9; $ssh knox-fifo <${world.dir}/keys/geli.key; read -r unlocked <&9
       cat /tmp/lines >&8; cat <&9; rm /tmp/to /tmp/from`,
    )
    assert.match(said, /is the newest one\nfailed refused .*held|dataset is busy/)
    assert.match(
      said,
      /failed usage not a snapshot\nfailed refused wd\/pictures has snapshots\nfailed usage not a dataset[^]*failed usage not a dataset[^]*failed usage not a verb[^]*locked/,
    )
    assert.equal(await snapshots(), before)
    await lockedAgain(world)
  })

  test('cannot destroy, roll back, or reach beyond the pool', async () => {
    const lines = [
      'destroy\twd',
      'receive\tfull\twd;touch /tmp/pwned',
      'receive\tfull\ttank',
      'list',
      'rename\twd\ttank',
      'x'.repeat(5000),
      '',
    ]
    await writeFile('/tmp/lines', `${lines.join('\n')}\n`)
    const said = await ssh('knox-send', '', '/tmp/lines')
    assert.match(
      said,
      /not a verb of this box[^]*the disk is locked[^]*the line is too long[^]*locked\nexit 1/,
    )
    await world.home('test ! -e /tmp/pwned')
    await lockedAgain(world)
  })
})
