import { join } from 'node:path'
import * as z from 'zod'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { NO_DELETIONS, type DeletionState } from './deletions.ts'

const schema = z.strictObject({
  version: z.literal(1),
  missing: z.record(
    z.string(),
    z.strictObject({
      since: z.iso.datetime(),
      days: z.int().min(0),
      last: z.string(),
      agreed: z.literal(true).optional(),
    }),
  ),
  datasets: z.record(z.string(), z.enum(['gone', 'kept'])),
})

const pathOf = (folder: string): string => join(folder, 'deletions.json')

/** What home remembers of snapshots that only the box has; nothing if there is no file that can be read: all grace begins anew. */
export const readDeletionState = async (folder: string): Promise<DeletionState> => {
  const text = await readTextIfAny(pathOf(folder))
  if (text === undefined) return NO_DELETIONS
  try {
    const { missing, datasets } = schema.parse(JSON.parse(text))
    return { missing, datasets }
  } catch {
    return NO_DELETIONS
  }
}

/** Keeps it, atomically. */
export const writeDeletionState = (folder: string, state: DeletionState): Promise<void> =>
  writeFileAtomic(pathOf(folder), `${JSON.stringify({ version: 1, ...state }, null, 1)}\n`, { replace: true })
