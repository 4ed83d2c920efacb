import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { PASSPHRASE, startWorld, type World } from '../../provision/lab/world.ts'
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

/** Each way in which a run can fail: reported as itself, never a success, and the disk is locked again. */

let world: World

/** what every process of both machines showed while the disk was prepared and the first backup ran */
let shown: Buffer

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 768, homeYaml: '  retries: 0\n' })
  const watching = world.home(
    `while [ ! -e ${world.dir}/enough ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || :; sleep 0.1; done >/tmp/shown`,
  )
  const prepared = await prepareDisk(world, '--yes', '--verbose')
  ended(prepared, 0)
  await world.home(
    'zfs create tank/pictures; zfs create tank/new; dd if=/dev/urandom of=pictures/one bs=1M count=4',
  )
  const sent = await world.knox('snapback', '--verbose', '--json')
  ended(sent, 0)
  await writeFile(`${world.dir}/enough`, '')
  await watching
  const outputs = [prepared, sent].map(({ stdout, stderr }) => stdout + stderr).join('')
  shown = Buffer.concat([await readFile('/tmp/shown'), Buffer.from(outputs)])
})
after(() => world.stop())

test('no secret is in an argument, the environment, or anything that knox prints', async () => {
  const key = await readFile(`${world.dir}/keys/geli.key`)
  const part = key.subarray(0, 12)
  const forms = [part, part.toString('hex'), part.toString('base64'), PASSPHRASE, 'OPENSSH PRIVATE KEY']
  assert.ok(shown.includes('knox-zfs-receive.sh'), 'the watcher saw the box at work')
  assert.deepEqual(
    forms.map((form) => shown.includes(form)),
    forms.map(() => false),
  )
})

describe('a run that fails', () => {
  const unproved = async (work: () => Promise<void>): Promise<void> => {
    const before = await provedAt(world)
    await work()
    assert.equal(await provedAt(world), before, 'a failed run wrote a receipt')
    await lockedAgain(world)
  }

  test('wrong key: exit 12', () =>
    unproved(async () => {
      await world.home(
        `cd ${world.dir}/keys; mv geli.key right.key; head -c 1024 /dev/urandom > geli.key; chmod 600 geli.key`,
      )
      ended(await world.knox('backup', '--prove'), 12, /Wrong key for da0[^]*locked its disk/)
      await world.home(`cd ${world.dir}/keys; mv right.key geli.key`)
    }))

  test('a failing zfs send: exit 16, not a success as in the tutorial’s script', () =>
    unproved(async () => {
      await world.home('dd if=/dev/urandom of=pictures/four bs=1M count=4')
      ended(await world.knox('snapshot'), 0)
      await world.sabotage(
        'zfs',
        'if [ "$2 $3" = "send -P" ]; then "$@" | head -c 100000; echo "cannot send: I/O error" >&2; exit 1; fi; exec "$@"',
      )
      ended(await world.knox('backup'), 16, /zfs send failed at home[^]*I\/O error[^]*locked its disk/)
      await world.repair()
    }))

  test('a stream damaged on its way: exit 17, not a success as in the tutorial’s script', () =>
    unproved(async () => {
      await world.sabotage(
        'zfs',
        'if [ "$2 $3" = "send -P" ]; then "$@" | sed "s/a/b/g"; exit 0; fi; exec "$@"',
      )
      ended(await world.knox('backup'), 17, /zfs receive failed on the box[^]*locked its disk/)
      await world.repair()
    }))

  test('a connection that breaks in mid-stream: exit 19, and the box locks itself', () =>
    unproved(async () => {
      await world.sabotage(
        'zfs',
        'if [ "$2 $3" = "send -P" ]; then "$@" | (head -c 300000; sleep 3; pkill -f "sshd: root@notty"; sleep 60); exit 0; fi; exec "$@"',
      )
      ended(await world.knox('backup'), 19, /the connection to the box broke/)
      await world.repair()
      await lockedInTime(world)
    }))

  test('a session killed on the box: its guard locks the disk', () =>
    unproved(async () => {
      await world.sabotage(
        'zfs',
        'if [ "$2 $3" = "send -P" ]; then "$@" | (head -c 300000; sleep 3; pkill -KILL -f "knox-zfs-receive.sh session"; sleep 60); exit 0; fi; exec "$@"',
      )
      ended(await world.knox('backup'), 19, /connection to the box broke/)
      await world.repair()
      await lockedInTime(world)
    }))

  test('a link that goes silent in mid-stream: exit 19, and both sides end by themselves', () =>
    unproved(async () => {
      const deaf =
        'tc qdisc add dev home0 root netem loss 100%; ip netns exec box tc qdisc add dev box0 root netem loss 100%'
      await world.sabotage(
        'zfs',
        `if [ "$2 $3" = "send -P" ]; then "$@" | (head -c 300000; sleep 3; ${deaf}; sleep 300); exit 0; fi; exec "$@"`,
      )
      ended(await world.knox('backup'), 19, /the connection to the box broke/)
      await world.repair()
      await lockedInTime(world)
      await world.home('tc qdisc del dev home0 root; ip netns exec box tc qdisc del dev box0 root')
    }))

  test('the next run goes on by itself and is proved', async () => {
    ended(await world.knox('backup'), 0, /proved/)
    await lockedAgain(world)
  })

  test('another snapshot arrives than was meant: exit 14, and the next run mends it', async () => {
    await unproved(async () => {
      await world.home('echo x > pictures/x')
      ended(await world.knox('snapshot'), 0)
      const between = await newestSnapshot(world)
      await world.home('sleep 1; echo y > pictures/y')
      ended(await world.knox('snapshot'), 0)
      await world.sabotage(
        'zfs',
        `if [ "$2 $3" = "send -P" ]; then exec $(echo "$*" | sed "s/@[^@]*$/@${between}/"); fi; exec "$@"`,
      )
      ended(await world.knox('backup'), 14, /locked its disk/)
      await world.repair()
    })
    ended(await world.knox('backup'), 0, /proved/)
  })

  test('a disk that something holds open: exit 20, and it says what to do', async () => {
    await world.home('echo z > pictures/z')
    ended(await world.knox('snapshot'), 0)
    await world.sabotage(
      'zfs',
      `if [ "$2 $3" = "send -P" ] && [ ! -e ${world.dir}/held ]; then touch ${world.dir}/held; sh -c 'echo $$ >${world.dir}/holder; exec sleep 600' </dev/da0.eli >/dev/null 2>&1 & fi; exec "$@"`,
    )
    ended(await world.knox('backup'), 20, /could not lock its disk[^]*the box restarts/)
    // what is a namespace of home writes down that it should have restarted
    assert.match(await world.home('cat /run/knox-lab/restarts'), /^-q$/m)
    await world.repair()
    await world.home(`kill $(cat ${world.dir}/holder); sleep 1`)
    ended(await world.knox('backup', '--prove'), 0, /proved/)
    await lockedAgain(world)
  })

  test('an unreachable box: exit 10, and every address is tried', () =>
    unproved(async () => {
      await world.home(`sed -i 's/\\[10.77.0.2\\]/[10.77.0.9, "10.77.0.2:2222"]/' ${world.dir}/knox.yaml`)
      const output = await world.knox('backup')
      ended(output, 10, /does not answer/)
      assert.match(output.stderr, /10\.77\.0\.9 port 22/)
      await world.home(
        `sed -i 's/^  addresses:.*/  addresses: ["10.77.0.2:2222", 10.77.0.2]/' ${world.dir}/knox.yaml`,
      )
      ended(await world.knox('backup'), 0, /nothing to send/)
    }))

  test('another machine at the only address: exit 12, nothing is sent', () =>
    unproved(async () => {
      const addresses = (list: string) =>
        world.home(`sed -i 's/^  addresses:.*/  addresses: ${list}/' ${world.dir}/knox.yaml`)
      await addresses('[10.77.0.2]')
      await world.home(
        `cd ${world.dir}/keys; cp ssh_host_ed25519_key.pub host.pub; cp knox-send.pub ssh_host_ed25519_key.pub`,
      )
      const alone = await world.knox('backup', '--prove')
      await addresses('["10.77.0.2:2222", 10.77.0.2]')
      const beside = await world.knox('backup', '--prove')
      await world.home(`cd ${world.dir}/keys; mv host.pub ssh_host_ed25519_key.pub`)
      ended(alone, 12, /another host key/)
      // the box may be at the one that is silent
      ended(beside, 10, /another machine answers at 10\.77\.0\.2/)
    }))

  test('a disk that is not plugged in: exit 21', () =>
    unproved(async () => {
      await world.home('mv /dev/da0 /dev/away')
      ended(await world.knox('backup', '--prove'), 21, /no disk da0/)
      await world.home('mv /dev/away /dev/da0')
    }))

  test('two runs at once: exit 11 for the second, here and on the box', () =>
    unproved(async () => {
      const lock = `${world.dir}/keys/lock`
      const holder = world.home(
        `printf '%s %s\\n' $$ "$(LC_ALL=C ps -o lstart= -p $$)" > ${lock}; sleep 20; rm ${lock}`,
      )
      await world.home('sleep 1')
      ended(await world.knox('backup'), 11, /another knox is at work/)
      await holder
      await world.box('(sleep 20 | /root/knox-zfs-receive.sh session) >/dev/null 2>&1 & sleep 2')
      ended(await world.knox('backup'), 11, /busy with another session/)
      await world.home('sleep 20')
    }))

  test('the lock of a run that died is no obstacle', async () => {
    await writeFile(`${world.dir}/keys/lock`, '999999 Mon Jan  1 00:00:00 2024\n')
    ended(await world.knox('backup'), 0, /nothing to send/)
  })

  test('a pool that does not exist: exit 3', async () => {
    await world.home(`sed -i 's/pool: tank/pool: nosuch/' ${world.dir}/knox.yaml`)
    ended(await world.knox('backup'), 3, /does not exist at home/)
    await world.home(`sed -i 's/pool: nosuch/pool: tank/' ${world.dir}/knox.yaml`)
  })

  test('keys that others can read: exit 3, and the disk stays locked', () =>
    unproved(async () => {
      await world.home(`chmod 644 ${world.dir}/keys/geli.key`)
      ended(await world.knox('backup', '--prove'), 3, /can be read by others/)
      await world.home(`chmod 600 ${world.dir}/keys/geli.key`)
    }))

  test('a box without room: exit 18', () =>
    unproved(async () => {
      await world.home('zfs create tank/big; dd if=/dev/urandom of=big/file bs=1M count=300')
      ended(
        await world.knox('snapback'),
        18,
        /the box has room for .*nothing was sent[^]*--accept-full-disk/s,
      )
      ended(await world.knox('backup', '--accept-full-disk'), 18, /the box’s disk is full/)
      await world.home(
        'zfs list -H -r -t snapshot -o name tank/big | xargs zfs release knox:knox; zfs destroy -r tank/big',
      )
    }))

  test('home gone back behind the box: exit 5 while others arrive, both newest snapshots are named', async () => {
    ended(await world.knox('snapback'), 0)
    const old = await newestSnapshot(world)
    await world.home('echo later > new/later')
    ended(await world.knox('snapback'), 0)
    await world.home(
      `zfs release knox:knox tank/new@${await newestSnapshot(world)}; zfs rollback -r tank/new@${old}; echo otherwise > new/later`,
    )
    const output = await world.knox('snapback')
    ended(output, 5, /tank\/new and wd\/new on the box have gone different ways/)
    assert.match(output.stderr, /newest at home @.*newest on the box @.*the box has 1 of its own, home 1/)
    await lockedAgain(world)
    ended(await world.knox('backup', '--accept-divergence'), 0)
    const wanted = await hashes(world, `tank/new@${await newestSnapshot(world)}`)
    await withOpenDisk(world, async () => {
      const { stdout } = await world.box('zfs list -H -o name -r wd')
      assert.match(stdout, /^wd\/new$[^]*^wd\/new-until-\S+Z$/m)
      assert.equal(await hashes(world, `wd/new@${await newestSnapshot(world)}`), wanted)
    })
    ended(await world.knox('backup'), 0, /nothing to send/)
  })
})
