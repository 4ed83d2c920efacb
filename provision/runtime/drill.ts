import { randomInt } from 'node:crypto'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import type { Secret } from '../core/secret.ts'
import { withTempDir } from '../system/files.ts'
import { withLock } from '../system/lock.ts'
import { lookAt, lookAway } from '../tools/tar.ts'
import type { Dataset, Snapshot } from '../tools/zfs.ts'
import { readHome } from './backup.ts'
import { withHomeSnapshot } from './home-snapshot.ts'
import { withOpenBox, type OpenBox } from './open-box.ts'
import { copyFromBox } from './restore-files.ts'
import { keyOf, pickFiles, sha256Of, type SampleFile } from './sample-files.ts'
import { prepareBox } from './target.ts'

/** A restore that is only tried: some files of some old snapshots, into a folder that is thrown away. */

export interface DrillReport {
  /** `dataset@snapshot: path` of all that came and was the same */
  readonly files: readonly string[]
  readonly bytes: number
}

const DATASETS = 5
const FILES = 3
const BUDGET = 16 * 1024 * 1024

interface Choice {
  readonly home: Dataset
  readonly box: string
  readonly snapshot: Snapshot
}

/** Some file systems, each with one of the snapshots that both sides have. */
const choose = (home: readonly Dataset[], box: readonly Dataset[], config: Config): readonly Choice[] => {
  const onBox = new Map(box.map((dataset) => [dataset.name, dataset]))
  const all = home.flatMap((dataset): readonly Choice[] => {
    const name = config.box.pool + dataset.name.slice(config.home.pool.length)
    const guids = new Set(onBox.get(name)?.snapshots.map(({ guid }) => guid))
    const common = dataset.snapshots.filter(({ guid }) => guids.has(guid))
    const snapshot =
      dataset.type === 'volume' || common.length === 0 ? undefined : common[randomInt(common.length)]
    return snapshot === undefined ? [] : [{ home: dataset, box: name, snapshot }]
  })
  const shuffled = all.map((choice) => ({ choice, at: randomInt(2 ** 32) })).sort((a, b) => a.at - b.at)
  return shuffled.slice(0, DATASETS).map(({ choice }) => choice)
}

/** Files from somewhere in the tree that have room in a temporary folder; only names that are text, since they travel as words of a command. */
const someFiles = async (folder: string): Promise<readonly SampleFile[]> => {
  const somewhere = keyOf(Buffer.from(randomInt(2 ** 32).toString()))
  const pick = (after: string) => pickFiles(folder, after, BUDGET, undefined, BUDGET)
  const { files } = await pick(somewhere)
  const found = files.length > 0 ? files : (await pick('')).files
  return found
    .filter(({ path }) => Buffer.from(path.toString()).equals(path) && !/\p{Cc}/u.test(path.toString()))
    .slice(0, FILES)
}

const tryOne = async (
  open: OpenBox,
  { home, box, snapshot }: Choice,
  emit: Emit,
): Promise<readonly (SampleFile & { readonly isSame: boolean })[]> => {
  emit({ type: 'step', title: `restoring files of ${home.name}@${snapshot.name}` })
  const tried = await withHomeSnapshot(home.name, snapshot.name, emit, async (folder) => {
    const files = await someFiles(folder)
    if (files.length === 0) return []
    await open.runner.act(lookAt(`${box}@${snapshot.name}`))
    try {
      return await withTempDir(async (scratch) => {
        const results: (SampleFile & { isSame: boolean })[] = []
        for (const file of files) {
          const ours = await sha256Of(folder, file.path).catch(() => undefined)
          if (ours === undefined) {
            const name = `${home.name}@${snapshot.name}: ${printable(file.path.toString())}`
            emit({ type: 'warning', text: `not tried, since it cannot be read at home: ${name}` })
            continue
          }
          await copyFromBox(open, file.path.toString(), scratch, emit)
          const theirs = await sha256Of(scratch, file.path)
          results.push({ ...file, isSame: ours === theirs })
        }
        return results
      })
    } finally {
      await open.runner.act(lookAway()).catch(() => undefined)
    }
  })
  return tried ?? []
}

export interface Tried {
  /** `dataset@snapshot: path` */
  readonly name: string
  readonly bytes: number
  readonly isSame: boolean
}

/** What a drill has shown. Throws `verification` if a file was not the same, `partial` if there was none to try. */
export const drillReport = (tried: readonly Tried[]): DrillReport => {
  const other = tried.find(({ isSame }) => !isSame)
  if (other !== undefined)
    throw new KnoxError('verification', `what came back is not what home has: ${other.name}`, [
      'knox verify compares all files over time, knox scrub checks the box’s disk',
    ])
  if (tried.length === 0)
    throw new KnoxError('partial', 'no file was tried, so nothing is shown', [
      'its snapshots hold no small file, or are not mounted at home: root can look into them',
    ])
  return {
    files: tried.map(({ name }) => name),
    bytes: tried.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/**
 * Restores a sample by the way that a real restore takes and compares it with home. Throws `verification` if a file is not the
 * same, `partial` if there is no file to try, `diverged` if there is nothing on both sides, and what a restore throws.
 */
export const drill = async (config: Config, passphrase: Secret, emit: Emit): Promise<DrillReport> => {
  const box = await prepareBox(config)
  const home = await readHome(config, emit)
  return withLock(box.folder, () =>
    withOpenBox(box, passphrase, emit, async (open) => {
      const choices = choose(home, open.inventory.datasets, config)
      if (choices.length === 0)
        throw new KnoxError('diverged', 'the box has no snapshot that home has', ['knox backup sends them'])
      const tried: Tried[] = []
      for (const choice of choices)
        for (const { path, bytes, isSame } of await tryOne(open, choice, emit)) {
          const name = `${choice.home.name}@${choice.snapshot.name}: ${printable(path.toString())}`
          tried.push({ name, bytes, isSame })
          if (!isSame) return drillReport(tried)
        }
      return drillReport(tried)
    }),
  )
}
