import { join } from 'node:path'
import type { Change, Runner } from '../core/command.ts'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { formatBytes } from '../core/sizes.ts'
import { readSecretFile } from '../system/files.ts'
import type { Disk } from '../tools/disk.ts'
import { writeZeros, writtenRate, zeroEnds } from '../tools/dd.ts'
import { geliAttach, geliDetach, geliInit, geliProviders, readMetadata } from '../tools/geli.ts'
import { keepMetadata, stillAttached } from './prepared-disk.ts'
import { forgetReceipt } from './receipt.ts'
import { beginDisk, finishDisk, markEncrypted } from './unfinished-disk.ts'
import { poolNames, zpoolCreate, zpoolExport, zpoolImport } from '../tools/zpool.ts'

const SMALLEST_DISK = 64 * 1024 * 1024

/** One line that tells the owner which disk this is. */
export const describeDisk = (disk: Disk): string =>
  `${disk.name} (${disk.description}, serial ${disk.serial ?? 'unknown'}, ${formatBytes(disk.bytes)})`

/** Throws `refused` unless this is the disk that was confirmed, as it was then. */
export const checkSame = (confirmed: Disk, now: Disk): void => {
  const keys = ['serial', 'description', 'bytes', 'sectorBytes', 'inUse', 'contents'] as const
  if (keys.every((key) => confirmed[key] === now[key])) return
  throw new KnoxError('refused', `${confirmed.name} is not what it was when it was confirmed`, [
    `then ${describeDisk(confirmed)}`,
    `now ${describeDisk(now)}; nothing was changed, start again`,
  ])
}

/** Throws if the disk must not be touched: `refused` if it is in use, or holds data and `erase` was not said. */
export const checkDisk = (disk: Disk, erase: boolean): void => {
  if (disk.inUse)
    throw new KnoxError('refused', `${describeDisk(disk)} is in use on the box`, [
      'a disk that is mounted, swap, attached or part of a pool is never touched',
    ])
  if (disk.bytes < SMALLEST_DISK) throw new KnoxError('refused', `${describeDisk(disk)} is too small`)
  if (disk.contents !== 'blank' && !erase)
    throw new KnoxError(
      'refused',
      disk.contents === 'geli'
        ? `${describeDisk(disk)} is encrypted by GELI, not with the key of this box: it may hold a backup`
        : `${describeDisk(disk)} is not empty`,
      ['nothing was changed; --erase says that all of it may be lost'],
    )
}

/** What the owner types to confirm, in any case: what stands on the disk itself, else its name; `and ERASE` where it is not blank. */
export const wordsOf = ({ name, serial, description }: Disk, andErase: boolean): readonly string[] => {
  const printed = [serial ?? '', description === 'unknown model' ? '' : description].filter(
    (word) => word !== '',
  )
  const words = printed.length === 0 ? [name] : printed
  return andErase ? words.map((word) => `${word} ERASE`) : words
}

export interface Preparation {
  readonly title: string
  readonly change: Change
  /** measured before the change: how fast the device is written */
  readonly measure?: string
}

const MEASURED_MIB = 64

/**
 * What is done to the disk, in this order: the attach right after init proves the key before anything is written. `erased` is a disk
 * that holds something which may be lost: a pool on all of it would be found again beside the new one, whose device is a sector shorter.
 */
export const preparations = (
  config: Config,
  key: Secret,
  speed = false,
  erased?: Disk,
): readonly Preparation[] => {
  const { disk, pool } = config.box
  const measure = (device: string) => (speed ? { measure: device } : {})
  const wipes = erased === undefined ? [] : zeroEnds(erased)
  return [
    ...wipes.map((change) => ({ title: 'wiping an end of the disk', change })),
    { title: 'encrypting', change: geliInit(disk, key), ...measure(`/dev/${disk}`) },
    { title: 'attaching, to prove that the key opens it', change: geliAttach(disk, key) },
    {
      title: `making the pool ${pool}`,
      change: zpoolCreate(pool, `${disk}.eli`),
      ...measure(`/dev/${disk}.eli`),
    },
    { title: 'exporting', change: zpoolExport(pool) },
    { title: 'detaching', change: geliDetach(disk) },
    { title: 'attaching once more, as a backup will', change: geliAttach(disk, key) },
    { title: 'importing', change: zpoolImport(pool) },
    { title: 'exporting', change: zpoolExport(pool) },
    { title: 'detaching', change: geliDetach(disk) },
  ]
}

/** Every change of a preparation, in its order: what a dry run shows. */
export const changesOf = (steps: readonly Preparation[]): readonly Change[] =>
  steps.flatMap(({ change, measure }) =>
    measure === undefined ? [change] : [writeZeros(measure, MEASURED_MIB), change],
  )

/** As much of export and detach as works: after a failure, and of what a run that was killed has left. */
export const releaseDisk = async (config: Config, runner: Runner): Promise<void> => {
  await runner.act(zpoolExport(config.box.pool)).catch(() => undefined)
  await runner.act(geliDetach(config.box.disk)).catch(() => undefined)
}

const isLocked = async (config: Config, runner: Runner): Promise<boolean> =>
  !(await runner.read(geliProviders)).includes(`${config.box.disk}.eli`)

/** So that a run that is cut off from here on begins this disk anew. What fails here costs only that. */
const rememberEncrypted = async (folder: string, runner: Runner, disk: string): Promise<void> => {
  const metadata = await runner.read(readMetadata(disk)).catch(() => undefined)
  if (metadata !== undefined) await markEncrypted(folder, metadata)
}

/**
 * Encrypts the box's disk and makes its pool, measuring raw and encrypted disk on the way if `speed` is said; brings the GELI metadata home as geli-metadata-DISK.bin.
 * `runner` is a root shell on the box. The disk, which is the one of `config`, must have passed `checkDisk`; one that is not blank is wiped first. Resolves with the rate of the encrypted disk, in
 * bytes a second, if it was measured. Throws what failed, with the disk locked if possible.
 */
export const prepareDisk = async (
  config: Config,
  folder: string,
  runner: Runner,
  emit: Emit,
  found: Disk,
  speed = false,
): Promise<number | undefined> => {
  const { disk, pool } = config.box
  // from here on a pool of that name is this run's own, and may be exported
  if ((await runner.read(poolNames)).includes(pool))
    throw new KnoxError('refused', `a pool ${pool} is in use on the box already`, [
      'nothing was changed; give the backup’s pool another name: box.pool in knox.yaml',
    ])
  const key = await readSecretFile(join(folder, KEY_FILES.disk), 'disk key')
  const erased = found.contents === 'blank' ? undefined : found
  // a run that is refused changes nothing, neither there nor here
  await forgetReceipt(folder)
  await beginDisk(folder, found)
  let mayBeAttached = false
  let rate: number | undefined
  try {
    for (const { title, change, measure } of preparations(config, key, speed, erased)) {
      if (measure !== undefined) {
        emit({ type: 'step', title: `measuring ${measure}` })
        await runner.act(writeZeros(measure, MEASURED_MIB))
        rate = await runner.read(writtenRate)
        emit({ type: 'done', title: `${measure} is written at ${formatBytes(rate)}/s` })
      }
      emit({ type: 'step', title })
      mayBeAttached ||= change.argv[1] === 'attach'
      await runner.act(change)
      if (change.argv[1] === 'init') await rememberEncrypted(folder, runner, disk)
      if (change.argv[1] === 'detach') mayBeAttached = false
      emit({ type: 'done', title })
    }
  } catch (error) {
    await releaseDisk(config, runner)
    if (await isLocked(config, runner).catch(() => !mayBeAttached)) throw error
    throw stillAttached(disk, error)
  }
  if (!(await isLocked(config, runner))) throw stillAttached(disk, undefined)
  const metadata = await runner.read(readMetadata(disk))
  if (!metadata.subarray(0, 9).equals(Buffer.from('GEOM::ELI')))
    throw new KnoxError('verification', 'the GELI metadata that came back is none')
  await keepMetadata(folder, disk, metadata)
  await finishDisk(folder)
  emit({ type: 'done', title: 'the GELI metadata is in the key folder, the disk is locked' })
  return rate
}
