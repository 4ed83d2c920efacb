import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { HERE, runnerAt } from '../system/runner.ts'
import { datasetAt } from '../tools/zfs.ts'

const deviceOf = async (path: string): Promise<number | undefined> =>
  (await stat(path).catch(() => undefined))?.dev

/**
 * True if a file lies where it is lost together with home: in the file system of the key folder, of the system or of the
 * owner's home folder, or on the pool that is backed up.
 */
export const isOnOwnDisk = async (file: string, keyFolder: string, pool: string): Promise<boolean> => {
  const folder = dirname(resolve(file))
  const device = await deviceOf(folder)
  const own = await Promise.all([keyFolder, '/', homedir()].map(deviceOf))
  if (device !== undefined && own.includes(device)) return true
  const dataset = await runnerAt(HERE, () => undefined)
    .read(datasetAt(folder))
    .catch(() => '')
  return dataset.split('/')[0] === pool
}
