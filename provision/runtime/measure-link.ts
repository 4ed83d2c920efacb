import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import * as z from 'zod'
import { Secret } from '../core/secret.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { run } from '../system/process.ts'
import type { Place } from '../system/runner.ts'

/** How fast the box takes data through ssh: what the first backup will take is foretold from it. */

const MIB = 1024 * 1024
/** MiB: more where the first took too little time to tell */
const SIZES = [4, 32]
const LEAST_SECONDS = 0.3

/** Bytes a second to the box and nowhere: network and ssh's encryption, without disk. Undefined if it could not be measured. */
export const measureLink = async (place: Place): Promise<number | undefined> => {
  const argv = place.wrap(['/bin/sh', '-c', 'cat >/dev/null'])
  const empty = Date.now()
  if ((await run(argv, { timeout: 60 })).exitCode !== 0) return undefined
  // without the time that a command takes that carries nothing
  const idle = Date.now() - empty
  let rate: number | undefined
  for (const size of SIZES) {
    const started = Date.now()
    const { exitCode } = await run(argv, {
      stdin: new Secret('noise', randomBytes(size * MIB)),
      timeout: 300,
    })
    if (exitCode !== 0) return rate
    const seconds = Math.max(0.001, (Date.now() - started - idle) / 1000)
    rate = (size * MIB) / seconds
    if (seconds >= LEAST_SECONDS) return rate
  }
  return rate
}

const schema = z.object({ bytesPerSecond: z.number().positive() })
const fileOf = (folder: string) => join(folder, 'link.json')

/** Remembers the rate in the key folder. */
export const rememberLink = (folder: string, bytesPerSecond: number): Promise<void> =>
  writeFileAtomic(fileOf(folder), `${JSON.stringify({ bytesPerSecond })}\n`, { replace: true })

/** The last measured rate, in bytes a second. */
export const lastLink = async (folder: string): Promise<number | undefined> => {
  try {
    return schema.parse(JSON.parse((await readTextIfAny(fileOf(folder))) ?? '')).bytesPerSecond
  } catch {
    return undefined
  }
}
