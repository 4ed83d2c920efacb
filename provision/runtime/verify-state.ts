import { join } from 'node:path'
import * as z from 'zod'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'

export const verifySchema = z.strictObject({
  version: z.literal(1),
  /** of the last run, ISO 8601 UTC */
  at: z.iso.datetime(),
  /** of the last run */
  files: z.number(),
  bytes: z.number(),
  /** `dataset@snapshot: path` of what is not the same; without the snapshot where the last run could not compare it again */
  different: z.array(z.string()),
  /** by guid of home's dataset */
  datasets: z.record(
    z.string(),
    z.strictObject({
      name: z.string(),
      /** where the round stands; empty at its begin */
      cursor: z.string(),
      last: z.iso.datetime(),
      /** when the last whole round was over */
      covered: z.iso.datetime().nullable(),
      /** false if a file of this round could not be asked for */
      isWhole: z.boolean().default(true),
      /** paths (base64: they need not be text) of what was not the same, compared in each run until it is */
      suspects: z.array(z.string()).default([]),
    }),
  ),
})

/** What was compared so far: the result of the last run, and where each dataset's round stands. */
export type VerifyState = z.infer<typeof verifySchema>

const pathOf = (folder: string): string => join(folder, 'verify.json')

/** undefined if there is no file that can be read: all rounds begin anew. */
export const readVerifyState = async (folder: string): Promise<VerifyState | undefined> => {
  const text = await readTextIfAny(pathOf(folder))
  try {
    return text === undefined ? undefined : verifySchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** Keeps it, atomically. */
export const writeVerifyState = (folder: string, state: VerifyState): Promise<void> =>
  writeFileAtomic(pathOf(folder), `${JSON.stringify(state, null, 1)}\n`, { replace: true })
