import { mkdir, mkdtemp, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { giveName, syncFolder, writeFileAtomic } from '../system/files.ts'

export interface NewFile {
  readonly name: string
  readonly data: string | Secret
}

const STAGE = '.staged-'

/** Removes what a run that was cut off left behind; one that is still under way then fails and undoes what it did. */
const removeStages = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder))
    if (name.startsWith(STAGE)) await rm(join(folder, name), { recursive: true, force: true })
}

/** Runs work with all files written and synced in a private folder (0700) beside their places. */
const withStage = async (
  folder: string,
  files: readonly NewFile[],
  work: (stage: string) => Promise<void>,
): Promise<void> => {
  await removeStages(folder)
  const stage = await mkdtemp(join(folder, STAGE))
  try {
    for (const { name, data } of files) await writeFileAtomic(join(stage, name), data)
    await work(stage)
    await syncFolder(folder)
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

/**
 * Puts new files of mode 0600 in a folder, in the order given: all of them, or none if one cannot be put there.
 * Never replaces a file: throws `refused` if one exists.
 */
export const placeNewFiles = (folder: string, files: readonly NewFile[]): Promise<void> =>
  withStage(folder, files, async (stage) => {
    const placed: string[] = []
    try {
      for (const { name } of files) {
        await giveName(join(stage, name), join(folder, name))
        placed.push(name)
      }
    } catch (error) {
      for (const name of placed) await unlink(join(folder, name))
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      throw new KnoxError('refused', `${join(folder, files[placed.length]?.name ?? '')} exists already`, [
        'nothing was changed',
      ])
    }
  })

/** Replaces files by new ones of mode 0600, each in one step, once all of them are written. */
export const replaceFiles = (folder: string, files: readonly NewFile[]): Promise<void> =>
  withStage(folder, files, async (stage) => {
    for (const { name } of files) await rename(join(stage, name), join(folder, name))
  })

/** Moves files into a new sub-folder of mode 0700; moves them back if one of them cannot be moved. */
export const moveAside = async (folder: string, names: readonly string[], aside: string): Promise<void> => {
  await mkdir(join(folder, aside), { mode: 0o700 })
  const moved: string[] = []
  try {
    for (const name of names) {
      await rename(join(folder, name), join(folder, aside, name))
      moved.push(name)
    }
  } catch (error) {
    await moveBack(folder, moved, aside)
    throw error
  }
}

/** Undoes moveAside. */
export const moveBack = async (folder: string, names: readonly string[], aside: string): Promise<void> => {
  for (const name of names) await rename(join(folder, aside, name), join(folder, name))
  await rmdir(join(folder, aside))
}
