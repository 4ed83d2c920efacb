import { KnoxError } from '../core/errors.ts'

/** The plainest of tar archives (POSIX.1-1988 ustar): regular files, at most one folder deep. What tar(1) of any system unpacks. */

export interface Member {
  /** `geli.key`, or `replaced-2026.../geli.key` */
  readonly name: string
  readonly data: Buffer
}

const BLOCK = 512
const NAME = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._:@+-]{1,60}(?:\/(?!\.{1,2}$)[A-Za-z0-9._:@+-]{1,60})?$/
const MOST_MEMBERS = 1000

/** True if a file of this name can be a member. */
export const isMemberName = (name: string): boolean => NAME.test(name) && name.length <= 100

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`

const checksum = (header: Buffer): number =>
  header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0)

/** What a header says of a member; the owner is root, by number. */
export interface Header {
  readonly name: string
  /** permission bits */
  readonly mode: number
  /** bytes */
  readonly size: number
  /** since 1970 */
  readonly seconds: number
  /** for a symbolic link */
  readonly linkTo?: string
}

const LONGEST_NAME = 100

/** The block before a member's bytes (tar(5)). Throws RangeError for a name that has no room in it. */
export const ustarHeader = ({ name, mode, size, seconds, linkTo }: Header): Buffer => {
  for (const text of [name, linkTo ?? ''])
    if (Buffer.byteLength(text) > LONGEST_NAME) throw new RangeError(`too long for an archive: ${text}`)
  const header = Buffer.alloc(BLOCK)
  header.write(name, 0)
  header.write(octal(mode, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(size, 12), 124)
  header.write(octal(seconds, 12), 136)
  header.write(linkTo === undefined ? '0' : '2', 156)
  header.write(linkTo ?? '', 157)
  header.write('ustar\x0000', 257)
  header.write(`${octal(checksum(header), 7)} `, 148)
  return header
}

/** The archive; the same members give the same bytes. All files are 0600 and of 1970. */
export const packUstar = (members: readonly Member[]): Buffer =>
  Buffer.concat([
    ...members.flatMap(({ name, data }) => {
      if (!isMemberName(name)) throw new Error(`not a name for an archive: ${name}`)
      return [
        ustarHeader({ name, mode: 0o600, size: data.length, seconds: 0 }),
        data,
        Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK),
      ]
    }),
    Buffer.alloc(2 * BLOCK),
  ])

const damaged = (what: string): KnoxError =>
  new KnoxError('verification', `it is not an archive that knox made: ${what}`)

const textAt = (header: Buffer, at: number, length: number): string =>
  header
    .subarray(at, at + length)
    .toString('latin1')
    .split('\0')[0] ?? ''

const numberAt = (header: Buffer, at: number, length: number): number => {
  const text = textAt(header, at, length).trim()
  if (!/^[0-7]{1,11}$/.test(text)) throw damaged('a number in it is none')
  return Number.parseInt(text, 8)
}

/**
 * The members of an archive of `packUstar`. Throws `verification` for anything else: links, folders, absolute paths, a name
 * twice, a wrong checksum, a cut end.
 */
export const unpackUstar = (archive: Buffer): readonly Member[] => {
  const members = new Map<string, Member>()
  let at = 0
  for (;;) {
    const header = archive.subarray(at, at + BLOCK)
    if (header.length < BLOCK) throw damaged('its end is missing')
    if (header.every((byte) => byte === 0)) break
    const name = textAt(header, 0, 100)
    if (numberAt(header, 148, 7) !== checksum(header)) throw damaged('a header is damaged')
    const isPlain =
      textAt(header, 156, 1) === '0' && textAt(header, 157, 100) === '' && textAt(header, 345, 155) === ''
    if (!isPlain || !isMemberName(name) || members.has(name)) throw damaged('a member of it is no plain file')
    const size = numberAt(header, 124, 12)
    const data = archive.subarray(at + BLOCK, at + BLOCK + size)
    if (data.length < size || members.size >= MOST_MEMBERS) throw damaged('its end is missing')
    members.set(name, { name, data })
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  return [...members.values()]
}
