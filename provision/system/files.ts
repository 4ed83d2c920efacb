import { randomBytes } from 'node:crypto'
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

/** True if something stands at the path, a dangling link included. */
export const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )

/** A path without links, of what is there and what is not yet. */
export const realFolder = async (path: string): Promise<string> =>
  realpath(path).catch(async () =>
    path === dirname(path) ? path : join(await realFolder(dirname(path)), basename(path)),
  )

/** Makes a folder of mode 0700 where there is none. */
export const ensurePrivateDir = async (path: string): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

/** what a file system says that has no links, such as a stick's FAT: EPERM on Linux, EOPNOTSUPP on FreeBSD, which node calls ENOTSUP */
const NO_LINKS: readonly string[] = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

/**
 * Gives a written file the name it is to have; its own may stay. Throws EEXIST if something has that name. Where there are no
 * links an empty file holds the name until the whole one takes it.
 */
export const giveName = async (from: string, to: string): Promise<void> => {
  try {
    await link(from, to)
  } catch (error) {
    if (!NO_LINKS.includes(codeOf(error))) throw error
    await (await open(to, 'wx', 0o600)).close()
    await rename(from, to).catch(async (failure: unknown) => {
      await unlink(to)
      throw failure
    })
  }
}

/** what a file system says that cannot sync a folder, or a folder that may be written and not read */
const NO_SYNC: readonly string[] = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES']

/** Brings the names in a folder to the disk, where its file system can do that: until then a power cut takes them back. */
export const syncFolder = async (path: string): Promise<void> => {
  try {
    const folder = await open(path)
    await folder.sync().finally(() => folder.close())
  } catch (error) {
    if (!NO_SYNC.includes(codeOf(error))) throw error
  }
}

/** A name that nothing has, in the folder of this one. */
export const nameBeside = (path: string): string =>
  join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`)

export interface WriteOptions {
  /** file mode, default 0600 */
  readonly mode?: number
  /** replace what stands there; without it an existing file is an error of code `refused` */
  readonly replace?: boolean
}

/** Writes a whole file or nothing: a synced temporary file beside it, put in place in one step, and the folder synced. */
export const writeFileAtomic = async (
  path: string,
  data: string | Buffer | Secret,
  options: WriteOptions = {},
) => {
  const temporary = nameBeside(path)
  const file = await open(temporary, 'wx', 0o600)
  try {
    try {
      await file.writeFile(data instanceof Secret ? data.reveal() : data)
      await file.chmod(options.mode ?? 0o600)
      await file.sync()
    } finally {
      await file.close()
    }
    if (options.replace === true) await rename(temporary, path)
    else await giveName(temporary, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    throw new KnoxError('refused', `${path} exists already`, ['nothing was changed; --force replaces it'])
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
  await syncFolder(dirname(path))
}

/** Reads a text file; undefined if there is none. */
export const readTextIfAny = (path: string): Promise<string | undefined> =>
  readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })

/** Reads a file of secret bytes; refuses one that others may read. Throws `config` if it is missing. */
export const readSecretFile = async (path: string, label: string): Promise<Secret> => {
  const info = await stat(path).catch(() => undefined)
  if (info === undefined) throw new KnoxError('config', `the ${label} is missing: ${path}`)
  if ((info.mode & 0o077) !== 0)
    throw new KnoxError('config', `the ${label} can be read by others: ${path}`, [`chmod 600 ${path}`])
  return new Secret(label, await readFile(path))
}

/** Runs work with a private temporary folder that is gone afterwards. */
export const withTempDir = async <T>(work: (dir: string) => Promise<T>): Promise<T> => {
  const dir = await mkdtemp(join(tmpdir(), 'knox-'))
  await chmod(dir, 0o700)
  try {
    return await work(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
