import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { startRemoteWorld, type RemoteBox } from '../../provision/lab/remote-world.ts'
import { must, type World } from '../../provision/lab/world.ts'
import {
  ended,
  lockedAgain,
  lockedInTime,
  newestSnapshot,
  passGrace,
  prepareDisk,
  provedAt,
} from '../support/lab.ts'
import { byHandTests } from './by-hand-tests.ts'
import { keyOf } from './by-hand.ts'

/** The end-to-end suite against a real FreeBSD; `npm run test:freebsd` runs it in a guest of the lab. */

const remote = JSON.parse(readFileSync(process.env['KNOX_REMOTE_BOX'] ?? '', 'utf8')) as RemoteBox
let world: World
/** the box keeps what arrived of a broken stream: FreeBSD 10.3 and later */
let resumable = false

before(async () => {
  world = await startRemoteWorld(remote)
  await world.home(
    'ip link set eth0 up 2>/dev/null || ip link set "$(ls /sys/class/net | grep -v lo | head -n 1)" up; ' +
      'n=$(ls /sys/class/net | grep -v "^lo$" | head -n 1); ip addr add 10.0.2.15/24 dev "$n"; ip route add default via 10.0.2.2',
  )
})
after(() => world.stop())

/** sha256 of every file of a snapshot on the box, with the disk opened by hand. */
const boxHashes = async (dataset: string): Promise<string> => {
  const { stdout, stderr } = await world.box(
    [
      `printf '${await keyOf(world)}' | geli attach -p -k - ${remote.disk}`,
      'zpool import -f -N -o readonly=on -o cachefile=none wd',
      `mkdir -p /tmp/knox-look && mount -t zfs -o ro "${dataset}" /tmp/knox-look`,
      '(cd /tmp/knox-look && find . -type f -exec sha256 -r {} + | sed "s/ /  /" | sort)',
      `umount /tmp/knox-look; zpool export wd; geli detach ${remote.disk}`,
    ].join('\n'),
  )
  return stdout === '' ? stderr : stdout
}

const homeHashes = (dataset: string): Promise<string> =>
  world.home(
    `mkdir -p ${world.dir}/look; mount -t zfs -o ro '${dataset}' ${world.dir}/look; ` +
      `(cd ${world.dir}/look && find . -type f -exec sha256sum {} + | sort); umount ${world.dir}/look`,
  )

describe('a FreeBSD box', () => {
  test('its disk is prepared, and locked again', async () => {
    ended(await prepareDisk(world, '--yes', '--erase'), 0, /is locked/)
    await lockedAgain(world)
    const { stdout } = must(await world.box('zfs get 2>&1 | cat'))
    resumable = stdout.includes('receive_resume_token')
  })

  test('its own disk is known by the key, and not erased', async () => {
    await world.home('rm ../keys/geli-metadata-*')
    ended(await prepareDisk(world, '--yes', '--erase'), 0, /stays as it was, and is locked/)
    await lockedAgain(world)
  })

  test('a disk of another key, that may hold a backup, is not taken for a new one', async () => {
    await world.home(
      'cd ../keys; mkdir aside; mv geli.key geli-metadata-* aside; head -c 1024 /dev/urandom >geli.key; chmod 600 geli.key',
    )
    ended(await prepareDisk(world, '--yes'), 4, /may hold a backup/)
    await world.home('cd ../keys; mv aside/* .; rmdir aside')
  })

  test('a first backup is proved, and equal file by file', async () => {
    await world.home(
      'zfs create tank/photos; zfs create "tank/old letters"; zfs create -V 16M tank/disk; ' +
        'zfs create -o canmount=noauto -o mountpoint=/etc tank/hostile; ' +
        'dd if=/dev/urandom of=photos/one bs=1M count=8 2>/dev/null; echo dear > "old letters/1"',
    )
    const mounts = (await world.box('mount -p')).stdout
    ended(await world.knox('snapback'), 0, /proved/)
    await lockedAgain(world)
    assert.equal((await world.box('mount -p')).stdout, mounts)
    const snapshot = await newestSnapshot(world)
    assert.equal(await boxHashes(`wd/photos@${snapshot}`), await homeHashes(`tank/photos@${snapshot}`))
    await lockedAgain(world)
  })

  test('an incremental with a rename and a new dataset is proved over two connections', async () => {
    await world.home('echo more > photos/two; zfs rename tank/photos tank/pictures; zfs create tank/new')
    ended(await world.knox('snapshot'), 0)
    await world.started()
    ended(await world.knox('backup'), 0, /proved/)
    assert.equal((await world.started()).filter((line) => line.startsWith('ssh ')).length, 2)
    const snapshot = await newestSnapshot(world)
    assert.equal(await boxHashes(`wd/pictures@${snapshot}`), await homeHashes(`tank/pictures@${snapshot}`))
  })

  test('nothing to send: one connection, the disk stays locked', async () => {
    await world.started()
    ended(await world.knox('backup'), 0, /nothing to send/)
    assert.equal((await world.started()).filter((line) => line.startsWith('ssh ')).length, 1)
    await lockedAgain(world)
  })

  test('a wrong key is refused: exit 12', async () => {
    const before = await provedAt(world)
    await world.home(
      `cd ${world.dir}/keys; mv geli.key right; head -c 1024 /dev/urandom > geli.key; chmod 600 geli.key`,
    )
    ended(await world.knox('backup', '--prove'), 12, /Wrong key/)
    await world.home(`cd ${world.dir}/keys; mv right geli.key`)
    await lockedAgain(world)
    assert.equal(await provedAt(world), before)
  })

  const midStream = (what: string): string =>
    `if [ "$2 $3" = "send -P" ] && echo "$*" | grep -q pictures@; then "$@" | (head -c 6000000; touch ${world.dir}/flowing; sleep 60); exit 0; fi; exec "$@" # ${what}`

  // what the guard takes for the connection
  const GUARDED = String.raw`ps -o comm= -p "$(ps -axww -o args= | sed -n 's/.*knox-zfs-receive.sh guard [0-9]* \([0-9]*\)$/\1/p' | head -n 1)"`

  // ZFS keeps of a stream what it has written: a group of changes every five seconds
  const whileSending = async (line: string): Promise<void> => {
    await world.home('dd if=/dev/urandom of=pictures/big bs=1M count=8 2>/dev/null')
    ended(await world.knox('snapshot'), 0)
    const before = await provedAt(world)
    await world.sabotage('zfs', midStream(line))
    const running = world.knox('backup')
    await world.home(
      `while [ ! -e ${world.dir}/flowing ]; do sleep 0.2; done; rm ${world.dir}/flowing; sleep 15`,
    )
    const watched = await world.box(GUARDED)
    assert.match(watched.stdout, /^sshd/, watched.stderr)
    await world.box(line)
    ended(await running, 19, /connection to the box broke/)
    await world.repair()
    await lockedInTime(world)
    assert.equal(await provedAt(world), before)
  }

  test('a lost connection: exit 19, the box locks itself, the next run goes on', async () => {
    await whileSending(
      'for p in $(pgrep -f "knox-zfs-receive.sh sessio[n]"); do while [ "$p" -gt 1 ]; do case $(ps -o comm= -p $p) in sshd*) kill $p; break;; esac; p=$(ps -o ppid= -p $p | tr -d " "); done; done',
    )
    ended(await world.knox('backup'), 0, resumable ? /going on with tank\/pictures@[^]*proved/ : /proved/)
    await lockedAgain(world)
  })

  test('a killed session: its guard locks the disk, the next run goes on', async () => {
    await whileSending('pkill -KILL -f "knox-zfs-receive.sh sessio[n]"')
    ended(await world.knox('backup'), 0, /proved/)
    await lockedAgain(world)
  })

  test('a file and a dataset are restored, and compared', async () => {
    const words = ['restore', 'tank/pictures', '--passphrase-file', `${world.dir}/passphrase`]
    ended(await world.knox(...words, '--file', 'two', '--to', `${world.dir}/two`), 0, /1 files of @/)
    await world.home(`cmp ${world.dir}/two/two pictures/two`)
    await lockedAgain(world)
    ended(await world.knox(...words, '--to', 'tank/again'), 0, /1 datasets with/)
    await lockedAgain(world)
    const snapshot = await newestSnapshot(world)
    assert.equal(await homeHashes(`tank/again@${snapshot}`), await homeHashes(`tank/pictures@${snapshot}`))
    assert.equal(
      await world.home('zfs get -H -o value canmount,readonly tank/again'),
      await world.home('zfs get -H -o value canmount,readonly tank/pictures'),
    )
  })

  const opened = async (...lines: readonly string[]): Promise<string> => {
    const { stdout } = await world.box(
      [
        `printf '${await keyOf(world)}' | geli attach -p -k - ${remote.disk}`,
        'zpool import -f -N -o cachefile=none wd',
        ...lines,
        `zpool export wd; geli detach ${remote.disk}`,
      ].join('\n'),
    )
    return stdout
  }

  test('the box holds anchors; what is gone at home goes after the grace', async () => {
    const [old = '', middle = ''] = (
      await world.home('zfs list -H -d 1 -t snapshot -o name -s createtxg "tank/old letters"')
    )
      .trim()
      .split('\n')
      .map((name) => name.replace(/.*@/, ''))
    await world.home(`zfs destroy "tank/old letters@${middle}"; zfs destroy "tank/old letters@${old}"`)
    ended(await world.knox('backup', '--prove'), 0)
    await passGrace(world)
    ended(await world.knox('backup', '--prove', '--json'), 0, /"destroyed":1[,}]/)
    const said = await opened(
      'zfs list -H -r -t snapshot -o name,userrefs -s createtxg "wd/old letters"',
      'zfs get -H -s local -o property,value knox:destroyed wd',
      'zfs get -H -r -s local -t snapshot -o name,value knox:anchor "wd/old letters"',
    )
    const newest = await newestSnapshot(world)
    // the first of the day is an anchor, although home has it no longer
    assert.match(said, new RegExp(`^wd/old letters@${old}\t1$`, 'm'))
    assert.ok(!said.includes(middle), said)
    assert.match(said, new RegExp(`^wd/old letters@${newest}\t1$`, 'm'))
    assert.match(said, /^knox:destroyed\t[0-9]{8}:1:20$/m)
    assert.match(said, new RegExp(`^wd/old letters@${old}\t[0-9]{8}$`, 'm'))
    assert.match(said, new RegExp(`^wd/old letters@${newest}\tnewest$`, 'm'))
    await lockedAgain(world)
  })

  test('contents are compared, the disk is read whole, a restore is tried', async () => {
    await world.home('printf x > "pictures/$(printf "new\\nline \\303\\274")"')
    ended(await world.knox('snapback'), 0)
    ended(await world.knox('verify', '--budget', '100M'), 0, /every file was compared of: .*tank\/pictures/)
    await lockedAgain(world)
    ended(await world.knox('scrub', '--for', '20m'), 0, /all of it is well/)
    await lockedAgain(world)
    ended(
      await world.knox('restore', '--drill', '--passphrase-file', `${world.dir}/passphrase`),
      0,
      /came back as home has them/,
    )
    await lockedAgain(world)
  })

  test('hostile words get nothing', async () => {
    const ssh = (login: string, words: string) =>
      world.home(
        `ssh -F ${world.dir}/keys/ssh_config -T -o HostName=${remote.host} -p ${remote.port} ${login} ${words} </dev/null 2>&1 || echo "exit $?"`,
      )
    assert.match(await ssh('knox-send', "'touch /tmp/pwned'"), /no command is taken here/)
    assert.match(await ssh('knox-fifo', "'touch /tmp/pwned'"), /no command is taken here/)
    assert.equal((await world.box('ls /tmp/pwned')).stdout, '')
    await lockedAgain(world)
  })

  byHandTests({ world: () => world, disk: remote.disk, isResumable: () => resumable })
})
