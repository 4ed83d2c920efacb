import { createHash } from 'node:crypto'
import { open, stat, type FileHandle } from 'node:fs/promises'
import type { Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { openSource } from '../system/process.ts'
import { failureOf } from '../system/runner.ts'
import { xzUnpack, xzUnpackedBytes } from '../tools/xz.ts'
import { bufferOf, CHUNK, inChunks } from './chunks.ts'
import { checkStopped } from './drive-io.ts'

/** An image file as it will stand on a drive. */
export interface ImageSource {
  readonly path: string
  readonly isPacked: boolean
  /** unpacked, in bytes */
  readonly bytes: number
  /**
   * The image from its beginning in chunks as long as the buffers, which take turns: a chunk is good until its buffer
   * is needed again. Throws `verification` if it is damaged or ends too early.
   */
  readonly chunks: (buffers: readonly Buffer[]) => AsyncGenerator<Buffer>
}

const noImage = (message: string, hint: string) =>
  new KnoxError('config', message, [hint, 'nothing was changed'])

/** Fills the buffer; what comes back is shorter only at the end of the file. */
const readAt = async (file: FileHandle, offset: number, data: Buffer): Promise<Buffer> => {
  const { length } = data
  let filled = 0
  for (let last = 1; last > 0 && filled < length; filled += last)
    last = (await file.read(data, filled, length - filled, offset + filled)).bytesRead
  return data.subarray(0, filled)
}

const endsEarly = (path: string, offset: number) =>
  new KnoxError('verification', `the image ends at byte ${offset}, earlier than it should: ${path}`, [
    'it was changed or cut off: build or fetch it again',
  ])

async function* plainChunks(path: string, bytes: number, buffers: readonly Buffer[]): AsyncGenerator<Buffer> {
  const file = await open(path)
  try {
    for (let [turn, offset] = [0, 0]; offset < bytes; turn += 1) {
      const buffer = bufferOf(buffers, turn)
      const wanted = Math.min(buffer.length, bytes - offset)
      const chunk = await readAt(file, offset, buffer.subarray(0, wanted))
      offset += chunk.length
      if (chunk.length < wanted) throw endsEarly(path, offset)
      yield chunk
    }
  } finally {
    await file.close()
  }
}

async function* unpackedChunks(
  path: string,
  bytes: number,
  buffers: readonly Buffer[],
): AsyncGenerator<Buffer> {
  const source = openSource(xzUnpack(path))
  let offset = 0
  try {
    for await (const chunk of inChunks(source.output, buffers)) {
      offset += chunk.length
      // the end of the output may come before it is known that xz failed
      if (offset > bytes) break
      yield chunk
    }
    const result = await source.ended
    if (result.exitCode === 127) throw failureOf(result, [])
    if (result.exitCode !== 0)
      throw new KnoxError(
        'verification',
        `the image is damaged: xz gave up after ${offset} bytes of ${path}`,
        [`it said: ${result.stderr.trim()}`, 'build or fetch it again'],
      )
    if (offset !== bytes) throw endsEarly(path, offset)
  } finally {
    source.kill()
  }
}

const XZ = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])
const OTHERS: readonly (readonly [string, Buffer, string])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b]), 'gunzip'],
  ['bzip2', Buffer.from('BZh'), 'bunzip2'],
  ['zip', Buffer.from('PK\u0003\u0004', 'latin1'), 'unzip'],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 'unzstd'],
]

const SECTOR = 512

/** every partition table that a PC or a Raspberry Pi starts from has this at its first sector's end */
const hasBootSignature = (first: Buffer): boolean => first.readUInt16LE(510) === 0xaa55

const checkBeginning = (path: string, first: Buffer): void => {
  if (first.length < SECTOR || !hasBootSignature(first))
    throw noImage(
      `this is no disk image: ${path}`,
      'an image begins with a partition table (55 aa at the end of its first sector)',
    )
}

/**
 * Opens an image, plain or .xz, and looks at its beginning; nothing stays open. Throws `config` if it is missing, cut
 * off, or no disk image.
 */
export const openImage = async (path: string, runner: Runner): Promise<ImageSource> => {
  const info = await stat(path).catch(() => undefined)
  if (info === undefined)
    throw noImage(`there is no image ${path}`, 'give the path of an .img or .img.xz file')
  if (!info.isFile()) throw noImage(`${path} is not a file`, 'give the path of an .img or .img.xz file')
  const file = await open(path).catch((error: unknown) => {
    throw noImage(`the image cannot be read: ${path}`, error instanceof Error ? error.message : '')
  })
  const start = await readAt(file, 0, Buffer.alloc(8)).finally(() => file.close())
  const other = OTHERS.find(([, magic]) => start.subarray(0, magic.length).equals(magic))
  if (other !== undefined) throw noImage(`${path} is packed with ${other[0]}`, `unpack it first: ${other[2]}`)
  const isPacked = start.subarray(0, XZ.length).equals(XZ)
  const bytes = isPacked ? await runner.read(xzUnpackedBytes(path)) : info.size
  const image = {
    path,
    isPacked,
    bytes,
    chunks: (buffers: readonly Buffer[]) =>
      isPacked ? unpackedChunks(path, bytes, buffers) : plainChunks(path, bytes, buffers),
  }
  for await (const first of image.chunks([Buffer.alloc(SECTOR)])) {
    checkBeginning(path, first)
    return image
  }
  throw noImage(`the image is empty: ${path}`, 'build or fetch it again')
}

/** SHA-256 of the unpacked image, in hex. */
export const hashImage = async (image: ImageSource, signal: AbortSignal): Promise<string> => {
  const hash = createHash('sha256')
  for await (const chunk of image.chunks([Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)])) {
    checkStopped(signal)
    hash.update(chunk)
  }
  return hash.digest('hex')
}
