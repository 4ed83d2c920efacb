import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../core/errors.ts'
import type { Emit, Event } from '../core/events.ts'
import { quoteAll } from '../core/quote.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { lookAt, lookAway } from '../tools/tar.ts'
import { mountpointOf } from '../tools/zfs.ts'

const stillMounted = (folder: string, error: unknown): Event => ({
  type: 'warning',
  text: `a snapshot may still be mounted at ${folder}: ${messageOf(error)}`,
  hint: `${quoteAll(['umount', folder])}; ${quoteAll(['rmdir', folder])}`,
})

/**
 * Runs work with the folder of a snapshot at home. As root it is mounted by itself; anybody else finds it below the mounted file system.
 * Resolves with undefined where neither works, as for a file system that is not mounted. One that cannot be unmounted is told.
 */
export const withHomeSnapshot = async <T>(
  dataset: string,
  snapshot: string,
  emit: Emit,
  work: (folder: string) => Promise<T>,
): Promise<T | undefined> => {
  const runner = runnerAt(HERE, emit)
  if (process.getuid?.() !== 0) {
    const mountpoint = await runner.read(mountpointOf(dataset))
    return mountpoint === undefined ? undefined : work(join(mountpoint, '.zfs', 'snapshot', snapshot))
  }
  // nothing in it is ever removed: where it cannot be unmounted that would be home's own snapshot
  const folder = await mkdtemp(join(tmpdir(), 'knox-'))
  try {
    await runner.act(lookAt(`${dataset}@${snapshot}`, folder))
  } catch (error) {
    await rmdir(folder).catch(() => undefined)
    throw error
  }
  try {
    return await work(folder)
  } finally {
    await runnerAt(HERE, emit, 60, true)
      .act(lookAway(folder))
      .catch((error: unknown) => emit(stillMounted(folder, error)))
  }
}
