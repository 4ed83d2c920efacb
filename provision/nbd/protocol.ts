/** The NBD protocol's numbers and frames, after doc/proto.md of the NetworkBlockDevice project. Pure; all integers big-endian. */

export const NBD_MAGIC = 0x4e42444d41474943n // NBDMAGIC
export const OPTION_MAGIC = 0x49484156454f5054n // IHAVEOPT
const REPLY_MAGIC = 0x0003e889045565a9n
export const REQUEST_MAGIC = 0x25609513
const SIMPLE_REPLY_MAGIC = 0x67446698

/** Handshake flags, of the server and of the client. */
export const FIXED_NEWSTYLE = 1
export const NO_ZEROES = 2

export const OPTIONS = { exportName: 1, abort: 2, list: 3, info: 6, go: 7 } as const
export const REPLIES = {
  ack: 1,
  server: 2,
  info: 3,
  unsupported: 2 ** 31 + 1,
  invalid: 2 ** 31 + 3,
  unknown: 2 ** 31 + 6,
  tooBig: 2 ** 31 + 9,
} as const
const INFO_EXPORT = 0
export const INFO_BLOCK_SIZE = 3

export const COMMANDS = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const
/** command flag: a write is on the disk before it is answered; where that is offered, it is no error with any command */
export const FUA = 1
export const ERRORS = { none: 0, permission: 1, io: 5, invalid: 22, noSpace: 28 } as const

/** the longest read or write, in bytes; clients ask for no more unless told that they may */
export const LONGEST = 32 * 1024 * 1024
const PREFERRED = 4096

/** What the server tells of its one device. */
export interface Export {
  readonly name: string
  /** in bytes */
  readonly size: number
  readonly readOnly: boolean
  /** flush and FUA are offered; not if it is read-only */
  readonly canFlush: boolean
}

/** has flags; read-only and safe over several connections; flush and FUA */
const transmissionFlags = ({ readOnly, canFlush }: Export): number =>
  1 | (readOnly ? 2 | 256 : 0) | (canFlush ? 4 | 8 : 0)

/** What a client is greeted with. */
export const greeting = (): Buffer => {
  const frame = Buffer.alloc(18)
  frame.writeBigUInt64BE(NBD_MAGIC, 0)
  frame.writeBigUInt64BE(OPTION_MAGIC, 8)
  frame.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16)
  return frame
}

/** The answer to an option. */
export const optionReply = (option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer => {
  const frame = Buffer.alloc(20)
  frame.writeBigUInt64BE(REPLY_MAGIC, 0)
  frame.writeUInt32BE(option, 8)
  frame.writeUInt32BE(type, 12)
  frame.writeUInt32BE(data.length, 16)
  return Buffer.concat([frame, data])
}

const sizeAndFlags = (device: Export): Buffer => {
  const frame = Buffer.alloc(10)
  frame.writeBigUInt64BE(BigInt(device.size), 0)
  frame.writeUInt16BE(transmissionFlags(device), 8)
  return frame
}

/** The end of the handshake by the option EXPORT_NAME, which has no other reply. */
export const exportReply = (device: Export, noZeroes: boolean): Buffer =>
  Buffer.concat([sizeAndFlags(device), Buffer.alloc(noZeroes ? 0 : 124)])

/** Data of the reply INFO: size and flags. */
export const exportInfo = (device: Export): Buffer =>
  Buffer.concat([Buffer.from([0, INFO_EXPORT]), sizeAndFlags(device)])

/** Data of the reply INFO: any byte can be asked for, whole pages are better. */
export const blockSizeInfo = (): Buffer => {
  const frame = Buffer.alloc(14)
  frame.writeUInt16BE(INFO_BLOCK_SIZE, 0)
  frame.writeUInt32BE(1, 2)
  frame.writeUInt32BE(PREFERRED, 6)
  frame.writeUInt32BE(LONGEST, 10)
  return frame
}

/** Data of the reply SERVER: one export in the list. */
export const listed = (name: string): Buffer => {
  const bytes = Buffer.from(name)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length, 0)
  return Buffer.concat([length, bytes])
}

/** What INFO and GO ask for; undefined if the data are not what the protocol says. */
export const parseInfoRequest = (
  data: Buffer,
): { readonly name: string; readonly wanted: readonly number[] } | undefined => {
  if (data.length < 6) return undefined
  const end = 4 + data.readUInt32BE(0)
  if (end + 2 > data.length) return undefined
  const count = data.readUInt16BE(end)
  if (data.length !== end + 2 + 2 * count) return undefined
  return {
    name: data.toString('utf8', 4, end),
    wanted: Array.from({ length: count }, (_, n) => data.readUInt16BE(end + 2 + 2 * n)),
  }
}

export const REQUEST_BYTES = 28

export interface Request {
  readonly flags: number
  readonly command: number
  /** the client's own, returned with the reply */
  readonly cookie: bigint
  readonly offset: bigint
  readonly length: number
}

/** A request's header; undefined if it is none. */
export const parseRequest = (frame: Buffer): Request | undefined =>
  frame.readUInt32BE(0) !== REQUEST_MAGIC
    ? undefined
    : {
        flags: frame.readUInt16BE(4),
        command: frame.readUInt16BE(6),
        cookie: frame.readBigUInt64BE(8),
        offset: frame.readBigUInt64BE(16),
        length: frame.readUInt32BE(24),
      }

/** The header of a simple reply; data follow it if a read went well. */
export const replyHeader = (error: number, cookie: bigint): Buffer => {
  const frame = Buffer.alloc(16)
  frame.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0)
  frame.writeUInt32BE(error, 4)
  frame.writeBigUInt64BE(cookie, 8)
  return frame
}
