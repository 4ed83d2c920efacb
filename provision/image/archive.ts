import { Secret } from '../core/secret.ts'
import { ustarHeader } from '../keys/ustar.ts'
import type { OverlayFile } from './overlay.ts'

/**
 * Files of the box as a tar archive, to be unpacked by tar(1) in a mounted image: owner, mode and time come with it, and
 * the bytes pass through a pipe, never through a file of the build host.
 */

const BLOCK = 512

/** The bytes of a file of the overlay; undefined for a link. */
export const bytesOf = ({ content }: OverlayFile): Buffer | undefined => {
  if (typeof content === 'string') return Buffer.from(content)
  return content instanceof Secret ? content.reveal() : undefined
}

const membersOf = (file: OverlayFile, seconds: number): readonly Buffer[] => {
  const { path, mode, content } = file
  const bytes = bytesOf(file) ?? Buffer.alloc(0)
  const link = typeof content === 'object' && 'linkTo' in content ? { linkTo: content.linkTo } : {}
  const header = ustarHeader({ name: `.${path}`, mode, size: bytes.length, seconds, ...link })
  return [header, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]
}

/** The archive of the files; `time` is the one of all of them, in whole seconds. The same input gives the same bytes. */
export const archiveOf = (files: readonly OverlayFile[], time: Date): Secret => {
  const seconds = Math.floor(time.getTime() / 1000)
  const parts = files.flatMap((file) => membersOf(file, seconds))
  return new Secret('files of the box', Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]))
}
