import { join } from 'node:path'
import type { Emit } from '../core/events.ts'
import { withTempDir } from '../system/files.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { lookAt, lookAway } from '../tools/tar.ts'
import { mountpointOf } from '../tools/zfs.ts'

/**
 * Runs work with the folder of a snapshot at home. As root it is mounted by itself; anybody else finds it below the mounted file system.
 * Resolves with undefined where neither works, as for a file system that is not mounted.
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
  return withTempDir(async (dir) => {
    const folder = join(dir, 'look')
    await runner.act(lookAt(`${dataset}@${snapshot}`, folder))
    try {
      return await work(folder)
    } finally {
      await runnerAt(HERE, emit, 60, true).act(lookAway(folder))
    }
  })
}
