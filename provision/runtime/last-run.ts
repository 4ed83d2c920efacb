import { join } from 'node:path'
import * as z from 'zod'
import { EXIT_CODES, type ExitName } from '../core/errors.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'

export const lastRunSchema = z.strictObject({
  version: z.literal(1),
  verb: z.string(),
  box: z.string(),
  /** ISO 8601 UTC */
  started: z.iso.datetime(),
  ended: z.iso.datetime(),
  /** the exit code's name, and the code */
  exit: z.enum(Object.keys(EXIT_CODES) as [ExitName, ...ExitName[]]),
  code: z.int(),
  /** what happened in one sentence; empty if all went well */
  message: z.string(),
  hints: z.array(z.string()),
  /** bytes that were sent; null if the run did not come so far */
  bytes: z.number().nullable(),
  /** when a run last ended with 0; null if none did */
  succeeded: z.iso.datetime().nullable(),
})

/** How the last `backup` or `snapback` ended, be it well or not. */
export type LastRun = z.infer<typeof lastRunSchema>

const pathOf = (folder: string): string => join(folder, 'last-run.json')

/** undefined if there was none, or its file cannot be read. */
export const readLastRun = async (folder: string): Promise<LastRun | undefined> => {
  try {
    const text = await readTextIfAny(pathOf(folder))
    return text === undefined ? undefined : lastRunSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** Keeps it, atomically. */
export const writeLastRun = (folder: string, run: LastRun): Promise<void> =>
  writeFileAtomic(pathOf(folder), `${JSON.stringify(run, null, 1)}\n`, { replace: true })
