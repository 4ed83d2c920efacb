import { mkdir, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError, messageOf } from '../core/errors.ts'
import { readTextIfAny, writeFileAtomic } from './files.ts'
import { run } from './process.ts'

/** When a process started, as ps(1) prints it; empty if there is no such process. A pid alone may be somebody else's. */
const startOf = async (pid: string): Promise<string> =>
  (await run(['ps', '-o', 'lstart=', '-p', pid])).stdout.trim()

/** on Linux the start is counted from the boot, which moves a little when the clock is set right */
const SAME_START = 5000

const isSameStart = (one: string, other: string): boolean =>
  one === other || Math.abs(Date.parse(one) - Date.parse(other)) <= SAME_START

/** What a lock file says: the process if it still runs, `gone` if not; undefined if there is no lock. */
const holderOf = async (path: string): Promise<string | undefined> => {
  const text = await readTextIfAny(path)
  if (text === undefined) return undefined
  const [, pid = '', start = ''] = /^([0-9]+) (.+)\n$/.exec(text) ?? []
  return pid !== '' && isSameStart(await startOf(pid), start) ? pid : 'gone'
}

/** Writes the lock; false if there is one. */
const take = (path: string, content: string): Promise<boolean> =>
  writeFileAtomic(path, content).then(
    () => true,
    (error: unknown) => {
      if (error instanceof KnoxError) return false
      throw new KnoxError('config', `the key folder cannot be written: ${messageOf(error)}`, [
        'is it read-only, or its disk full? nothing was sent',
      ])
    },
  )

/** milliseconds after which a turn to take over is seen as left behind by a crash */
const TURN_AGE = 60_000

/** Takes the place of a process that is gone; one at a time, so that of two that try only one has it. */
const takeOver = async (path: string, content: string): Promise<boolean> => {
  const turn = `${path}.turn`
  try {
    await mkdir(turn)
  } catch {
    const { mtimeMs } = await stat(turn).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > TURN_AGE) await rmdir(turn).catch(() => undefined)
    return false
  }
  try {
    if ((await holderOf(path)) !== 'gone') return false
    await writeFileAtomic(path, content, { replace: true })
    return true
  } finally {
    await rmdir(turn).catch(() => undefined)
  }
}

const ATTEMPTS = 5

const acquire = async (path: string): Promise<void> => {
  const me = process.pid.toString()
  const start = await startOf(me)
  if (start === '') throw new KnoxError('platform', 'ps does not show this process', ['is ps(1) installed?'])
  const content = `${me} ${start}\n`
  let holder: string | undefined
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (await take(path, content)) return
    holder = await holderOf(path)
    if (holder === 'gone' && (await takeOver(path, content))) return
    if (holder !== 'gone' && holder !== undefined) break
  }
  throw new KnoxError('busy', `another knox is at work for this box (process ${holder ?? 'unknown'})`, [
    'wait until it has ended',
  ])
}

/**
 * Runs work while this process holds the folder's lock: one knox at a time per box.
 * The lock of a process that is gone is taken over. Throws `busy` if another one holds it.
 */
export const withLock = async <T>(folder: string, work: () => Promise<T>): Promise<T> => {
  const path = join(folder, 'lock')
  await acquire(path)
  try {
    return await work()
  } finally {
    await unlink(path).catch(() => undefined)
  }
}
