import { KnoxError } from '../core/errors.ts'

/** The data types of the SSH protocol (RFC 4251 section 5), written and read. */

/** Four bytes, big end first. Throws RangeError outside 0 .. 2^32-1. */
export const encodeUint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Eight bytes, big end first. Throws RangeError outside 0 .. 2^64-1. */
export const encodeUint64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** A length as uint32, then the bytes; text is taken as UTF-8. */
export const encodeString = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([encodeUint32(bytes.length), bytes])
}

/** A string that holds strings, as PROTOCOL.certkeys packs principals and options. */
export const encodeList = (values: readonly (string | Buffer)[]): Buffer =>
  encodeString(Buffer.concat(values.map(encodeString)))

/** Reads one value after the other. Every method throws `config` where the bytes do not hold what it reads. */
export interface WireReader {
  readonly bytes: (length: number) => Buffer
  readonly uint32: () => number
  readonly uint64: () => bigint
  readonly string: () => Buffer
  /** a string that must be UTF-8 */
  readonly text: () => string
  /** a string that holds strings */
  readonly list: () => readonly Buffer[]
  /** bytes read so far */
  readonly position: () => number
  /** bytes not yet read */
  readonly left: () => number
  /** throws if bytes are left over */
  readonly end: () => void
}

/** The error for bytes that are not what they should be; `what` names their file. */
export const damaged = (what: string, why: string, hints: readonly string[] = []): KnoxError =>
  new KnoxError('config', `${what} is damaged: ${why}`, hints)

/** Bytes as UTF-8; throws `config` if they are not. */
const decodeText = (bytes: Buffer, what: string): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw damaged(what, 'a text in it is not UTF-8')
  }
}

/** A reader at the start of the bytes; `what` names their file in errors. What it returns are copies. */
export const readWire = (source: Buffer, what: string): WireReader => {
  let position = 0
  const bytes = (length: number): Buffer => {
    if (length > source.length - position) throw damaged(what, 'it ends too early')
    position += length
    return Buffer.from(source.subarray(position - length, position))
  }
  const uint32 = () => bytes(4).readUInt32BE()
  const string = () => bytes(uint32())
  const left = () => source.length - position
  return {
    bytes,
    uint32,
    uint64: () => bytes(8).readBigUInt64BE(),
    string,
    text: () => decodeText(string(), what),
    list: () => {
      const inner = readWire(string(), what)
      const values: Buffer[] = []
      while (inner.left() > 0) values.push(inner.string())
      return values
    },
    position: () => position,
    left,
    end: () => {
      if (left() > 0) throw damaged(what, 'something follows its end')
    },
  }
}

/** The bytes of strict base64 (RFC 4648, padded, nothing else in it); throws `config` for anything less. */
export const decodeBase64 = (text: string, what: string): Buffer => {
  const bytes = Buffer.from(text, 'base64')
  if (text === '' || bytes.toString('base64') !== text) throw damaged(what, 'its base64 is not valid')
  return bytes
}
