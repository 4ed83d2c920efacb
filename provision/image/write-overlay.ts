import { randomBytes } from 'node:crypto'
import { chmod, chown, lchown, lstat, mkdir, readdir, rename, symlink, unlink } from 'node:fs/promises'
import type { Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { writeFileAtomic } from '../system/files.ts'
import type { OverlayFile } from './overlay.ts'

const isRoot = process.getuid?.() === 0

/** Folders that are made get the modes of the box: an image builder copies them with the files. */
const modeOf = (folder: string): number => (folder === '/root' ? 0o700 : 0o755)

const look = (path: string): Promise<Stats | undefined> =>
  lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  })

const refused = (message: string, hint: string) => new KnoxError('refused', message, [hint])

/** True if the folder is empty or not there yet; throws `refused` if it is something else than a folder. */
const isFresh = async (out: string): Promise<boolean> => {
  const info = await look(out)
  if (info === undefined) return true
  if (!info.isDirectory())
    throw refused(`${out} is not a folder`, 'nothing was written; choose another --out')
  return (await readdir(out)).length === 0
}

/** Throws `refused` if the overlay must not be written there: it is no folder, or not empty without `force`. */
export const checkTarget = async (out: string, force: boolean): Promise<void> => {
  if (!(await isFresh(out)) && !force)
    throw refused(`${out} is not empty`, 'nothing was written; --force replaces single files in it')
}

const settle = async (path: string, mode: number): Promise<void> => {
  await chmod(path, mode)
  if (isRoot) await chown(path, 0, 0)
}

/** Makes the folders above a file. One that is there keeps its mode; a link is never followed out of the target. */
const makeFolders = async (out: string, folder: string): Promise<void> => {
  if (folder === '/') return
  await makeFolders(out, dirname(folder))
  const path = join(out, folder)
  const info = await look(path)
  if (info === undefined) {
    await mkdir(path)
    await settle(path, modeOf(folder))
  } else if (!info.isDirectory()) {
    throw refused(`${path} is not a folder`, 'knox writes into real folders only')
  }
}

const linkAtomic = async (to: string, linkTo: string): Promise<void> => {
  const temporary = join(dirname(to), `.${randomBytes(6).toString('hex')}.tmp`)
  await symlink(linkTo, temporary)
  try {
    await rename(temporary, to)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
}

const writeOne = async (out: string, { path, mode, owner, content }: OverlayFile): Promise<void> => {
  await makeFolders(out, dirname(path))
  const to = join(out, path)
  if ((await look(to))?.isDirectory() === true)
    throw refused(`${to} is a folder`, 'a file of the box belongs there')
  if (typeof content === 'object' && 'linkTo' in content) await linkAtomic(to, content.linkTo)
  else await writeFileAtomic(to, content, { mode, replace: true })
  if (isRoot) await lchown(to, owner.uid, owner.gid)
}

/**
 * Writes the overlay below a folder, each file in one step and with its mode; run by root, also with its owner.
 * `force` writes into a folder that holds something already, and replaces single files of it.
 * Throws `refused` as checkTarget does, or where a folder of the target is a link.
 */
export const writeOverlay = async (
  out: string,
  files: readonly OverlayFile[],
  force: boolean,
): Promise<void> => {
  await checkTarget(out, force)
  if (await isFresh(out)) {
    await mkdir(out, { recursive: true })
    await settle(out, modeOf('/'))
  }
  for (const file of files) await writeOne(out, file)
}
