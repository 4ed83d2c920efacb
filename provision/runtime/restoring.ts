import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { KnoxError } from '../core/errors.ts'
import { NAMES } from '../core/names.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'

/**
 * What is being restored at home, from its first stream until all of it is there, over any number of runs. It gets no snapshots of
 * knox meanwhile: nothing more could be received behind one that the box does not have.
 */

const dataset = z.string().regex(NAMES.dataset.pattern)
const schema = z.strictObject({
  version: z.literal(1),
  restores: z.array(z.strictObject({ source: dataset, target: dataset })),
})

export interface Restoring {
  /** the box's name */
  readonly source: string
  /** at home, with all below it */
  readonly target: string
}

/** The file that remembers it, in the key folder. */
export const restoringFile = (folder: string): string => join(folder, 'restoring.json')

/** All that is being restored. Throws `config` if the file is damaged: a snapshot too many would stop a restore. */
export const readRestoring = async (folder: string): Promise<readonly Restoring[]> => {
  const path = restoringFile(folder)
  const text = await readTextIfAny(path)
  try {
    return text === undefined ? [] : schema.parse(JSON.parse(text)).restores
  } catch (cause) {
    throw new KnoxError(
      'config',
      `${path} is not understood`,
      ['it says what is being restored; remove it if nothing is'],
      { cause },
    )
  }
}

const write = async (folder: string, restores: readonly Restoring[]): Promise<void> => {
  const path = restoringFile(folder)
  if (restores.length === 0) await rm(path, { force: true })
  else await writeFileAtomic(path, `${JSON.stringify({ version: 1, restores })}\n`, { replace: true })
}

const others = async (folder: string, target: string): Promise<readonly Restoring[]> =>
  (await readRestoring(folder)).filter((one) => one.target !== target)

/** To be called before the first stream is received. Throws what `readRestoring` throws. */
export const beginRestoring = async (folder: string, { source, target }: Restoring): Promise<void> =>
  write(folder, [...(await others(folder, target)), { source, target }])

/** To be called when all snapshots are at home. Throws what `readRestoring` throws. */
export const endRestoring = async (folder: string, target: string): Promise<void> =>
  write(folder, await others(folder, target))
