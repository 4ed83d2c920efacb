import { readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { writeFileAtomic } from './files.ts'
import { run } from './process.ts'

/** When a process started, as ps(1) prints it; empty if there is no such process. A pid alone may be somebody else's. */
const startOf = async (pid: string): Promise<string> =>
  (await run(['ps', '-o', 'lstart=', '-p', pid])).stdout.trim()

/**
 * Runs work while this process holds the folder's lock: one knox at a time per box.
 * The lock of a process that is gone is taken over. Throws `busy` if another one holds it.
 */
export const withLock = async <T>(folder: string, work: () => Promise<T>): Promise<T> => {
  const path = join(folder, 'lock')
  const me = process.pid.toString()
  const content = `${me} ${await startOf(me)}\n`
  for (let attempt = 0; ; attempt += 1) {
    try {
      await writeFileAtomic(path, content)
      break
    } catch (error) {
      if (!(error instanceof KnoxError)) throw error
      const [, pid = '', start = ''] =
        /^([0-9]+) (.*)\n$/.exec(await readFile(path, 'utf8').catch(() => '')) ?? []
      const alive = pid !== '' && start !== '' && (await startOf(pid)) === start
      if (alive || attempt > 0)
        throw new KnoxError('busy', `another knox is at work for this box (process ${pid})`, [
          'wait until it has ended',
        ])
      await unlink(path).catch(() => undefined)
    }
  }
  try {
    return await work()
  } finally {
    await unlink(path).catch(() => undefined)
  }
}
