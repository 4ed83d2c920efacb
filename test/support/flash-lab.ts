import { randomBytes } from 'node:crypto'
import { bundleOf } from '../../provision/lab/bundle.ts'
import { must } from '../../provision/lab/world.ts'
import { run, type Output } from '../../provision/system/process.ts'
import { ended } from './lab.ts'

/** What the lab's tests of `knox flash` share: drives, images and runs. */

export const MIB = 1024 * 1024

/** A shell line; throws if it fails. */
export const sh = async (line: string): Promise<string> =>
  must(await run(['sh', '-euc', `export DM_DISABLE_UDEV=1; ${line}`], { timeout: 300 })).stdout.trim()

export const PROGRAM = ['--no-deprecation', bundleOf('scripts/knox.ts'), 'flash']

export const flash = (...words: readonly string[]): Promise<Output> =>
  run(['node', ...PROGRAM, ...words], { timeout: 600 })

export interface Result {
  readonly skippedZeros: boolean
  readonly clearedBytes: number
  readonly writeSeconds: number
}

/** Flashes, which must work; what it tells of it. */
export const flashed = async (...words: readonly string[]): Promise<Result> => {
  const output = await flash(...words, '--yes', '--json')
  ended(output, 0)
  return JSON.parse(output.stdout) as Result
}

/** Bytes that are no zeros, with a partition table of one FreeBSD slice. */
export const imageOf = (mib: number): Buffer => {
  const data = Buffer.concat(Array<Buffer>(mib).fill(randomBytes(MIB)))
  data.fill(0, 446, 510)
  data.set([0x80, 0, 0, 0, 0xa5, 0, 0, 0], 446)
  data.writeUInt32LE(2048, 454)
  data.writeUInt32LE(16_384, 458)
  data.writeUInt16LE(0xaa55, 510)
  return data
}

/** A file in this folder as a loop device, filled with old data unless it is to be blank. */
export const loopIn = async (dir: string, mib: number, isBlank = false): Promise<string> => {
  const file = await sh(`f=$(mktemp ${dir}/drive.XXXXXX); truncate -s ${mib}M $f; echo $f`)
  if (!isBlank) await sh(`yes 'an old photograph' | head -c ${mib * MIB} >${file}`)
  return sh(`losetup -f --show -P ${file}`)
}
