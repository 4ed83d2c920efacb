import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../core/config.ts'
import type { Emit } from '../core/events.ts'
import { isUnfinished } from '../core/image-name.ts'
import { ensurePrivateDir, exists, realFolder } from '../system/files.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { unfinished } from './copy-image.ts'
import { takeDown, workplaceOf } from './workplace.ts'

/** What is in the making in the folder that gets the image: copies that hold the host key. One run at a time has it. */

export interface Making {
  readonly folder: string
  /** the copy of a ready image that is customised here */
  readonly image: string
  /** the image as it comes from a build host */
  readonly packed: string
}

export const makingIn = (out: string): Making => {
  const folder = join(out, '.knox-work')
  return { folder, image: join(folder, 'image.img'), packed: join(folder, 'image.img.xz') }
}

/** Takes down and removes what a run that was killed has left here, whatever that run was for. */
const clear = async (out: string, { folder, image, packed }: Making, config: Config, emit: Emit) => {
  if (await exists(image)) {
    const place = workplaceOf(join(await realFolder(folder), 'image.img'))
    await takeDown(runnerAt(HERE, emit, 120), place)
    await rm(join(place.folder, 'lock'), { force: true })
    await rmdir(place.folder).catch(() => undefined)
  }
  for (const path of [image, packed])
    for (const name of [path, unfinished(path)]) await rm(name, { force: true })
  for (const name of await readdir(out))
    if (isUnfinished(name, config)) await rm(join(out, name), { force: true })
}

/** Runs work that makes this box's image for the folder. Throws `busy` if another run does. */
export const withMaking = async <T>(
  out: string,
  { config, emit }: { readonly config: Config; readonly emit: Emit },
  work: (making: Making) => Promise<T>,
): Promise<T> => {
  const making = makingIn(out)
  await ensurePrivateDir(making.folder)
  try {
    return await withLock(making.folder, async () => {
      await clear(out, making, config, emit)
      return work(making)
    })
  } finally {
    await rmdir(making.folder).catch(() => undefined)
  }
}
