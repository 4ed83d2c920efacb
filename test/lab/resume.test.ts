import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startWorld, type World } from '../../provision/lab/world.ts'
import { ended, hashes, lockedAgain, newestSnapshot, prepareDisk, withOpenDisk } from '../support/lab.ts'

/** A connection that breaks in the middle of a stream: nothing is sent twice, and nobody has to help. */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 512, tankMib: 768 })
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home('dd if=/dev/urandom of=one bs=1M count=1')
  ended(await world.knox('snapback'), 0)
})
after(() => world.stop())

/** Cuts the next stream of tank/film after some bytes, and the connection with it; only once. */
const cutOnce = (bytes: number): Promise<void> =>
  world.sabotage(
    'zfs',
    `case "$2 $3 $*" in "send -P "*tank/film@*) film=yes ;; *) film=no ;; esac
if [ $film = yes ] && [ ! -e ${world.dir}/cut ]; then
  touch ${world.dir}/cut
  "$@" | (head -c ${bytes}; sleep 4; pkill -f "sshd: root@notty"; sleep 60)
  exit 0
fi
exec "$@"`,
  )

const sends = async (): Promise<readonly string[]> =>
  (await world.started()).filter((line) => line.startsWith('zfs send -P'))

const sameOnBox = async (dataset: string): Promise<void> => {
  const snapshot = await newestSnapshot(world)
  const wanted = await hashes(world, `tank${dataset}@${snapshot}`)
  assert.notEqual(wanted.trim(), '')
  await withOpenDisk(world, async () => assert.equal(await hashes(world, `wd${dataset}@${snapshot}`), wanted))
}

describe('a connection that breaks', () => {
  test('in a first stream: the same run goes on at the byte where it broke', async () => {
    await world.home('zfs create tank/film; dd if=/dev/urandom of=film/one bs=1M count=16')
    ended(await world.knox('snapshot'), 0)
    await cutOnce(9_000_000)
    await world.started()
    const output = await world.knox('backup')
    await world.repair()
    ended(output, 0, /trying again in 5 s[^]*going on with tank\/film@[^]*proved/)
    const [whole, rest, ...more] = (await sends()).filter((line) => / -t |tank\/film/.test(line))
    assert.match(whole ?? '', /^zfs send -P -v -p .*tank\/film@/)
    assert.match(rest ?? '', /^zfs send -P -v -t 1-/)
    assert.deepEqual(more, [])
    const sent = /sent ([0-9.]+) MiB/.exec(output.stderr)?.[1]
    assert.ok(Number(sent) < 12, `the rest only, not all 16 MiB: ${String(sent)}`)
    await lockedAgain(world)
    await sameOnBox('/film')
  })

  test('between two of several snapshots: the rest of that one, then the others', async () => {
    await world.home(`rm ${world.dir}/cut`)
    for (const file of ['two', 'three', 'four']) {
      await world.home(`dd if=/dev/urandom of=film/${file} bs=1M count=6; sleep 1`)
      ended(await world.knox('snapshot'), 0)
    }
    await cutOnce(9_000_000)
    await world.started()
    const output = await world.knox('backup')
    await world.repair()
    ended(output, 0, /going on with tank\/film@[^]*proved/)
    const lines = (await sends()).filter((line) => line.includes(' -t ') || line.includes('tank/film'))
    assert.deepEqual(
      lines.map((line) => (line.includes(' -t ') ? 'rest' : 'range')),
      ['range', 'rest', 'range'],
    )
    await lockedAgain(world)
    await sameOnBox('/film')
  })

  test('and the snapshot it was for is destroyed at home: what had arrived of it is discarded', async () => {
    await world.home(`rm ${world.dir}/cut; dd if=/dev/urandom of=film/five bs=1M count=12`)
    ended(await world.knox('snapshot'), 0)
    const gone = await newestSnapshot(world)
    await cutOnce(6_000_000)
    await world.home(`sed -i 's/^home:/home:\\n  retries: 0/' ${world.dir}/knox.yaml`)
    ended(await world.knox('backup'), 19)
    await world.repair()
    const held = await world.home(`zfs destroy tank/film@${gone} 2>&1 && exit 1 || :`)
    assert.match(held, /held|busy/, 'what has begun to arrive is held at home')
    await world.home(`zfs release knox:knox tank/film@${gone}; zfs destroy tank/film@${gone}; sleep 1`)
    ended(await world.knox('snapback'), 0, /no longer at home: it is discarded[^]*proved/)
    await lockedAgain(world)
    await sameOnBox('/film')
  })
})
