import { chmod, chown, lchown, mkdir, readdir, readlink, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { writeFileAtomic } from '../system/files.ts'
import type { OverlayFile } from './overlay.ts'

const isRoot = process.getuid?.() === 0

/** folders as they are on FreeBSD; everything else is 0755 */
const FOLDER_MODES: Readonly<Record<string, number>> = { '/root': 0o755, '/etc/ssh': 0o755 }

const makeFolders = async (out: string, folder: string): Promise<void> => {
  if (folder === '/') return
  await makeFolders(out, dirname(folder))
  const path = join(out, folder)
  await mkdir(path, { recursive: true })
  await chmod(path, FOLDER_MODES[folder] ?? 0o755)
  if (isRoot) await chown(path, 0, 0)
}

/**
 * Writes the overlay below a folder, with its modes, and as root also with its owner.
 * Throws `refused` if the folder holds anything already, unless `force`, which replaces single files.
 */
export const writeOverlay = async (
  out: string,
  files: readonly OverlayFile[],
  force: boolean,
): Promise<void> => {
  await mkdir(out, { recursive: true, mode: 0o700 })
  if (!force && (await readdir(out)).length > 0)
    throw new KnoxError('refused', `${out} is not empty`, [
      'nothing was written; --force replaces files in it',
    ])
  for (const { path, mode, content } of files) {
    const to = join(out, path)
    await makeFolders(out, dirname(path))
    if (typeof content === 'object' && 'linkTo' in content) {
      if ((await readlink(to).catch(() => '')) !== content.linkTo) await symlink(content.linkTo, to)
      if (isRoot) await lchown(to, 0, 0)
      continue
    }
    await writeFileAtomic(to, content, { mode, replace: true })
    if (isRoot) await chown(to, 0, 0)
  }
}
