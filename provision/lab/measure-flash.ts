import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../system/process.ts'
import { bundleOf } from './bundle.ts'
import { must } from './world.ts'

/** `knox flash` beside dd on one device in one run: a card of a few MiB a second, made of a loop device by a cgroup. */

const MIB = 1024 * 1024
/** MiB a second of the card */
const [WRITE, READ] = [8, 48]
/** MiB of the images, and of data in the sparse one */
const [SIZE, DATA] = [64, 4]

/** Seconds that the writing of one image took. */
export interface FlashRun {
  readonly what: string
  readonly dd: number
  readonly knox: number
}

const sh = async (line: string): Promise<string> =>
  must(await run(['sh', '-euc', line], { timeout: 300 })).stdout.trim()

/** Bytes that are no zeros, with a partition table of one FreeBSD slice. */
const imageOf = (mib: number): Buffer => {
  const image = Buffer.concat(Array<Buffer>(mib).fill(randomBytes(MIB)))
  image.fill(0, 446, 510)
  image.set([0x80, 0, 0, 0, 0xa5, 0, 0, 0], 446)
  image.writeUInt32LE(2048, 454)
  image.writeUInt32LE(4096, 458)
  image.writeUInt16LE(0xaa55, 510)
  return image
}

/** Makes a card of the drive, for all that this process starts from now on. */
const throttle = async (drive: string): Promise<void> => {
  const number = await sh(`lsblk -n -o MAJ:MIN -d ${drive}`)
  await sh(
    'mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup; cd /sys/fs/cgroup; ' +
      `echo +io >cgroup.subtree_control; mkdir -p card; echo ${process.pid} >card/cgroup.procs; ` +
      `echo '${number} wbps=${WRITE * MIB} rbps=${READ * MIB}' >card/io.max`,
  )
}

const flash = async (image: string, drive: string): Promise<number> => {
  const program = ['node', '--no-deprecation', bundleOf('scripts/knox.ts'), 'flash']
  const { stdout } = must(await run([...program, image, drive, '--yes', '--json'], { timeout: 600 }))
  return (JSON.parse(stdout) as { writeSeconds: number }).writeSeconds
}

/** The better of two runs of each, in turn; `prepare` is a shell line before each. */
const compare = async (what: string, image: string, drive: string, prepare: string): Promise<FlashRun> => {
  let [dd, knox] = [Infinity, Infinity]
  for (let turn = 0; turn < 2; turn += 1) {
    await sh(prepare)
    const started = performance.now()
    await sh(`dd if=${image} of=${drive} bs=1M oflag=direct conv=fsync 2>/dev/null`)
    dd = Math.min(dd, (performance.now() - started) / 1000)
    await sh(prepare)
    knox = Math.min(knox, await flash(image, drive))
  }
  return { what, dd, knox }
}

/** Measures in a guest of the lab, as root; the drive is gone afterwards, and this process stays slowed down. */
export const measureFlash = async (): Promise<readonly FlashRun[]> => {
  const dir = await mkdtemp(join(tmpdir(), 'flash-'))
  const [dense, sparse, card] = ['dense.img', 'sparse.img', 'card'].map((name) => join(dir, name))
  if (dense === undefined || sparse === undefined || card === undefined) throw new Error()
  let drive: string | undefined
  try {
    await writeFile(dense, imageOf(SIZE))
    await writeFile(sparse, imageOf(DATA))
    await truncate(sparse, SIZE * MIB)
    await writeFile(card, '')
    await truncate(card, (SIZE + 8) * MIB)
    drive = await sh(`losetup -f --show -P ${card}`)
    await throttle(drive)
    return [
      await compare(`${SIZE} MiB`, dense, drive, ':'),
      await compare(`${DATA} MiB of data in ${SIZE} MiB`, sparse, drive, `blkdiscard -f ${drive}`),
    ]
  } finally {
    if (drive !== undefined) await sh(`losetup -d ${drive}`)
    await rm(dir, { recursive: true, force: true })
  }
}
