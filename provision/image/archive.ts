import { Secret } from '../core/secret.ts'
import type { OverlayFile } from './overlay.ts'

/**
 * Files of the box as a tar archive (POSIX ustar), to be unpacked by tar(1) in a mounted image: owner, mode and time
 * come with it, and the bytes pass through a pipe, never through a file of the build host.
 */

const BLOCK = 512

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`

/** tar(5): name, mode, uid, gid, size, mtime, checksum, type, link, magic, version. Names of users stay empty: numbers count. */
const headerOf = (file: OverlayFile, size: number, seconds: number, linkTo: string): Buffer => {
  const header = Buffer.alloc(BLOCK)
  const put = (text: string, at: number, room: number): void => {
    if (Buffer.byteLength(text) > room) throw new RangeError(`too long for a tar header: ${text}`)
    header.write(text, at)
  }
  put(`.${file.path}`, 0, 100)
  put(octal(file.mode, 8), 100, 8)
  put(octal(file.owner.uid, 8), 108, 8)
  put(octal(file.owner.gid, 8), 116, 8)
  put(octal(size, 12), 124, 12)
  put(octal(seconds, 12), 136, 12)
  put(' '.repeat(8), 148, 8)
  put(linkTo === '' ? '0' : '2', 156, 1)
  put(linkTo, 157, 100)
  put('ustar\u000000', 257, 8)
  const sum = header.reduce((total, byte) => total + byte, 0)
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8)
  return header
}

/** The bytes of a file of the overlay; undefined for a link. */
export const bytesOf = ({ content }: OverlayFile): Buffer | undefined => {
  if (typeof content === 'string') return Buffer.from(content)
  return content instanceof Secret ? content.reveal() : undefined
}

/** The archive of the files; `time` is the one of all of them, in whole seconds. The same input gives the same bytes. */
export const archiveOf = (files: readonly OverlayFile[], time: Date): Secret => {
  const seconds = Math.floor(time.getTime() / 1000)
  const parts = files.flatMap((file) => {
    const bytes = bytesOf(file) ?? Buffer.alloc(0)
    const { content } = file
    const linkTo = typeof content === 'object' && 'linkTo' in content ? content.linkTo : ''
    const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)
    return [headerOf(file, bytes.length, seconds, linkTo), bytes, padding]
  })
  return new Secret('files of the box', Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]))
}
