import * as z from 'zod'
import { KnoxError } from '../../core/errors.ts'
import { readTextIfAny, writeFileAtomic } from '../../system/files.ts'

/** knox.lock.json beside knox.yaml: the revisions that were built, so that the next build takes the same. */

const tree = z.strictObject({ url: z.string(), revision: z.string().regex(/^(?:folder-)?[0-9a-f]{1,64}$/) })
const schema = z.strictObject({ freebsd: tree, crochet: tree })

export type Lock = z.infer<typeof schema>

/** Undefined if there is none; throws `config` if it is damaged. */
export const readLock = async (path: string): Promise<Lock | undefined> => {
  const text = await readTextIfAny(path)
  if (text === undefined) return undefined
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw new KnoxError('config', `${path} cannot be read`, ['delete it to take the newest sources'])
  }
}

export const writeLock = (path: string, lock: Lock): Promise<void> =>
  writeFileAtomic(path, `${JSON.stringify(lock, undefined, 2)}\n`, { replace: true, mode: 0o644 })
