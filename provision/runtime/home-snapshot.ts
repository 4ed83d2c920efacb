import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KnoxError, messageOf } from '../core/errors.ts'
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

/** A private folder on which a snapshot is mounted; undefined where it cannot be, as on FreeBSD if it is mounted already. */
const mountByItself = async (full: string, emit: Emit): Promise<string | undefined> => {
  // nothing in it is ever removed: where it cannot be unmounted that would be home's own snapshot
  const folder = await mkdtemp(join(tmpdir(), 'knox-'))
  try {
    await runnerAt(HERE, emit).act(lookAt(full, folder))
    return folder
  } catch (error) {
    await rmdir(folder).catch(() => undefined)
    if (!(error instanceof KnoxError)) throw error
    const why = [error.message, ...error.hints].join('; ')
    emit({ type: 'note', text: `${full} is not mounted by itself but looked for in its file system: ${why}` })
    return undefined
  }
}

/**
 * Runs work with the folder of a snapshot at home. As root it is mounted by itself; anybody else, and root where that fails, finds
 * it below the mounted file system. Resolves with undefined where neither works, as for a file system that is not mounted. One
 * that cannot be unmounted is told.
 */
export const withHomeSnapshot = async <T>(
  dataset: string,
  snapshot: string,
  emit: Emit,
  work: (folder: string) => Promise<T>,
): Promise<T | undefined> => {
  const folder = process.getuid?.() === 0 ? await mountByItself(`${dataset}@${snapshot}`, emit) : undefined
  if (folder === undefined) {
    const mountpoint = await runnerAt(HERE, emit).read(mountpointOf(dataset))
    return mountpoint === undefined ? undefined : work(join(mountpoint, '.zfs', 'snapshot', snapshot))
  }
  try {
    return await work(folder)
  } finally {
    await runnerAt(HERE, emit, 60, true)
      .act(lookAway(folder))
      .catch((error: unknown) => emit(stillMounted(folder, error)))
  }
}
