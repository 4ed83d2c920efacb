import { KnoxError } from '../core/errors.ts'

/** The encodings of RFC 4251 section 5 that keys and certificates are made of. */

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export const uint64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** A string: its length, then its bytes. */
export const string = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([uint32(bytes.length), bytes])
}

/** Strings one after another, inside one string. */
export const list = (values: readonly (string | Buffer)[]): Buffer =>
  string(Buffer.concat(values.map(string)))

export interface WireReader {
  readonly uint32: () => number
  readonly uint64: () => bigint
  readonly string: () => Buffer
  readonly take: (length: number) => Buffer
  readonly left: () => number
}

/** Reads what the functions above write. Throws `config` where the bytes end too early. */
export const readWire = (bytes: Buffer): WireReader => {
  let at = 0
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new KnoxError('config', 'a key or certificate is cut short')
    at += length
    return bytes.subarray(at - length, at)
  }
  return {
    take,
    uint32: () => take(4).readUInt32BE(),
    uint64: () => take(8).readBigUInt64BE(),
    string: () => take(take(4).readUInt32BE()),
    left: () => bytes.length - at,
  }
}

/** All strings inside one string. */
export const readList = (bytes: Buffer): readonly Buffer[] => {
  const reader = readWire(bytes)
  const values: Buffer[] = []
  while (reader.left() > 0) values.push(reader.string())
  return values
}
