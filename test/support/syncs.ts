import { open, readdir, stat, type FileHandle } from 'node:fs/promises'
import type { TestContext } from 'node:test'

/** What a power cut would leave: names that stood in a folder when it was synced. */

/** An error as a system call gives it. */
export const failWith = (code: string): Promise<never> =>
  Promise.reject(Object.assign(new Error(`${code}: as the test wants it`), { code }))

/** The names in the folder at each of its syncs; `sync` is done in the place of the real one. */
export const onSync = async (
  t: TestContext,
  folder: string,
  sync?: () => Promise<void>,
): Promise<readonly (readonly string[])[]> => {
  const { ino } = await stat(folder)
  const handle = await open(folder)
  const prototype = Object.getPrototypeOf(handle) as { sync: (this: FileHandle) => Promise<void> }
  await handle.close()
  const seen: (readonly string[])[] = []
  t.mock.restoreAll()
  const real = prototype.sync
  t.mock.method(prototype, 'sync', async function (this: FileHandle) {
    if ((await this.stat()).ino !== ino) return real.call(this)
    seen.push((await readdir(folder)).sort())
    return sync === undefined ? real.call(this) : sync()
  })
  return seen
}
