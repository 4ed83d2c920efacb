import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { readTextIfAny } from '../system/files.ts'

/** The checksum file beside an image, as sha256(1) of FreeBSD or sha256sum(1) write it. */

const HEX = /^[0-9a-f]{64}$/

/** The SHA-256 that the file gives for a name, in hex: `hex  name`, `hex *name`, `SHA256 (name) = hex`, or `hex` alone. */
export const checksumFor = (text: string, name: string): string | undefined => {
  const entries = text.split('\n').flatMap((line) => {
    const [, tag, tagged = ''] = /^SHA256 \((.*)\) = ([0-9A-Fa-f]+)\s*$/.exec(line) ?? []
    const [, plain = '', after] = /^([0-9A-Fa-f]+)(?:\s+\*?(.*?))?\s*$/.exec(line) ?? []
    const hex = (tagged || plain).toLowerCase()
    return HEX.test(hex) ? [{ hex, name: tag ?? after }] : []
  })
  const named = entries.find((entry) => entry.name !== undefined && basename(entry.name) === name)
  return named?.hex ?? (entries.length === 1 && entries[0]?.name === undefined ? entries[0]?.hex : undefined)
}

/** SHA-256 of a file in hex; `onBytes` hears how much was read, and of how much. Ends early with the signal's reason. */
export const hashFile = async (
  path: string,
  signal: AbortSignal,
  onBytes: (bytes: number, of: number) => void,
): Promise<string> => {
  const { size } = await stat(path)
  const hash = createHash('sha256')
  let bytes = 0
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024, signal })) {
    hash.update(piece as Buffer)
    onBytes((bytes += (piece as Buffer).length), size)
  }
  return hash.digest('hex')
}

/** What `IMAGE.sha256` says of the image: undefined if there is none. Throws `config` if it says nothing of this one. */
export const readChecksum = async (image: string): Promise<string | undefined> => {
  const path = `${image}.sha256`
  const text = await readTextIfAny(path)
  if (text === undefined) return undefined
  const hex = checksumFor(text, basename(image))
  if (hex === undefined)
    throw new KnoxError('config', `${path} has no SHA-256 of ${basename(image)}`, [
      'nothing was changed; correct the file, or move it away if it is of something else',
    ])
  return hex
}
