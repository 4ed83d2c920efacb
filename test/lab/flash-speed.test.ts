import assert from 'node:assert/strict'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { flashed, imageOf, loopIn, MIB, sh } from '../support/flash-lab.ts'

/** `knox flash` beside dd on one device in one run: a card that writes 8 MiB a second, made of a loop device by a cgroup. */

const [WRITE, READ, SIZE, DATA] = [8, 48, 64, 4]

let dir = ''
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'flash-'))
})
after(() => rm(dir, { recursive: true, force: true }))

/** makes a card of it, for all that this process starts from now on */
const throttle = async (drive: string): Promise<void> => {
  const number = await sh(`lsblk -n -o MAJ:MIN -d ${drive}`)
  await sh(
    `mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup; cd /sys/fs/cgroup; ` +
      `echo +io >cgroup.subtree_control; mkdir -p card; echo ${process.pid} >card/cgroup.procs; ` +
      `echo '${number} wbps=${WRITE * MIB} rbps=${READ * MIB}' >card/io.max`,
  )
}

interface Seconds {
  readonly dd: number
  readonly knox: number
}

/** The better of two runs of each, in turn. */
const compare = async (image: string, drive: string, prepare: string): Promise<Seconds> => {
  let [dd, knox] = [Infinity, Infinity]
  for (let turn = 0; turn < 2; turn += 1) {
    await sh(prepare)
    const started = performance.now()
    await sh(`dd if=${image} of=${drive} bs=1M oflag=direct conv=fsync 2>/dev/null`)
    dd = Math.min(dd, (performance.now() - started) / 1000)
    await sh(prepare)
    knox = Math.min(knox, (await flashed(image, drive)).writeSeconds)
  }
  return { dd, knox }
}

test('flash has at least 0.9 of dd’s rate on a full image, and three times that on a sparse one', async (t) => {
  const [full, sparse] = [join(dir, 'full.img'), join(dir, 'sparse.img')]
  await writeFile(full, imageOf(SIZE))
  await writeFile(sparse, imageOf(DATA))
  await truncate(sparse, SIZE * MIB)
  const drive = await loopIn(dir, SIZE + 8)
  const tell = (what: string, { dd, knox }: Seconds) =>
    t.diagnostic(`${what}: dd ${dd.toFixed(2)} s, knox ${knox.toFixed(2)} s, ${(dd / knox).toFixed(2)} of dd`)
  tell(`${SIZE} MiB to a loop device in memory`, await compare(full, drive, ':'))
  await throttle(drive)
  const whole = await compare(full, drive, ':')
  tell(`${SIZE} MiB to a card of ${WRITE} MiB/s`, whole)
  const gaps = await compare(sparse, drive, `blkdiscard -f ${drive}`)
  tell(`${DATA} MiB of data in ${SIZE} MiB to the same card, blank`, gaps)
  assert.ok(whole.knox <= whole.dd / 0.9)
  assert.ok(gaps.knox <= gaps.dd / 3)
})
