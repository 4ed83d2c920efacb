import { createHash } from 'node:crypto'
import { lstat, open, opendir } from 'node:fs/promises'

/** Which files of a snapshot are compared next. Names are bytes: they need not be text. */

export interface SampleFile {
  /** from the top of the snapshot */
  readonly path: Buffer
  readonly bytes: number
  /** its place in the round: hex */
  readonly key: string
}

export interface Sample {
  /** in the order of their keys */
  readonly files: readonly SampleFile[]
  /** true if no file is left behind them: the round is over */
  readonly isLast: boolean
}

const SLASH = Buffer.from('/')
/** files that are kept in memory at once */
const MOST_FILES = 20_000

/** A file's place in a round: spread over the tree as by chance, and the same in every run. */
export const keyOf = (path: Buffer): string => createHash('sha256').update(path).digest('hex').slice(0, 24)

const join = (folder: Buffer, name: Buffer): Buffer =>
  folder.length === 0 ? name : Buffer.concat([folder, SLASH, name])

/** Every regular file below a folder, links not followed. A folder that cannot be read is left out and told. */
async function* walk(top: Buffer, below: Buffer, onUnread: (path: Buffer) => void): AsyncGenerator<Buffer> {
  // node reads names as bytes where it is asked to; its types do not say so
  const options = { encoding: 'buffer' as BufferEncoding }
  try {
    for await (const entry of await opendir(join(top, below), options)) {
      const path = join(below, entry.name as unknown as Buffer)
      if (entry.isDirectory()) yield* walk(top, path, onUnread)
      else if (entry.isFile()) yield path
    }
  } catch {
    onUnread(below)
  }
}

/** The first files of a sorted list that fill the budget: at least one. */
const fill = (
  files: SampleFile[],
  budget: number,
): { readonly files: SampleFile[]; readonly cut: boolean } => {
  files.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  let bytes = 0
  let count = 0
  while (count < files.length && count < MOST_FILES && (count === 0 || bytes < budget)) {
    bytes += files[count]?.bytes ?? 0
    count += 1
  }
  return { files: files.slice(0, count), cut: count < files.length }
}

/**
 * The files after a place in the round (empty: from its begin) that fill a budget in bytes, at least one. Memory grows with the
 * budget, not with the tree. `alive` is called now and then while it walks. Files of more than `largest` bytes are passed over;
 * `onUnread` is told each file or folder (empty: the top) that cannot be looked at.
 */
export const pickFiles = async (
  folder: string,
  after: string,
  budget: number,
  alive: () => Promise<void> = () => Promise.resolve(),
  largest = Number.POSITIVE_INFINITY,
  onUnread: (path: Buffer) => void = () => undefined,
): Promise<Sample> => {
  const top = Buffer.from(folder)
  let files: SampleFile[] = []
  let wasCut = false
  let seen = 0
  for await (const path of walk(top, Buffer.alloc(0), onUnread)) {
    seen += 1
    if (seen % 5000 === 0) await alive()
    const key = keyOf(path)
    if (key <= after) continue
    const bytes = (await lstat(join(top, path)).catch(() => undefined))?.size
    if (bytes === undefined) onUnread(path)
    if (bytes === undefined || bytes > largest) continue
    files.push({ path, key, bytes })
    if (files.length < 2 * MOST_FILES) continue
    const filled = fill(files, budget)
    files = filled.files
    wasCut ||= filled.cut
  }
  const { files: picked, cut } = fill(files, budget)
  return { files: picked, isLast: !wasCut && !cut }
}

const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')

/** Those of some files that are there; one that cannot be looked at may be, and counts as empty. */
export const findFiles = async (folder: string, paths: readonly Buffer[]): Promise<readonly SampleFile[]> => {
  const found: SampleFile[] = []
  for (const path of paths) {
    const info = await lstat(join(Buffer.from(folder), path)).catch((error: unknown) =>
      isGone(error) ? undefined : { isFile: () => true, size: 0 },
    )
    if (info?.isFile() === true) found.push({ path, key: keyOf(path), bytes: info.size })
  }
  return found
}

const CHUNK = 1024 * 1024

/**
 * SHA-256 of a file below a folder, in hex. Throws what the file system says if it cannot be read, and when `signal` aborts; then
 * too the file is closed.
 */
export const sha256Of = async (folder: string, path: Buffer, signal?: AbortSignal): Promise<string> => {
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(CHUNK)
  const file = await open(join(Buffer.from(folder), path))
  try {
    for (;;) {
      signal?.throwIfAborted()
      const { bytesRead } = await file.read(chunk)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(chunk.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
}

/** A path as the verb `hash` of docs/session.md takes it: every unusual byte as \0ooo. */
export const wirePath = (path: Buffer): string =>
  [...path]
    .map((byte) => {
      const letter = String.fromCharCode(byte)
      return /[A-Za-z0-9_./, +=@:-]/.test(letter) ? letter : `\\0${byte.toString(8).padStart(3, '0')}`
    })
    .join('')
