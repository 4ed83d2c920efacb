import type { BlockDevice } from '../core/block-device.ts'
import type { Peer } from './peer.ts'
import {
  COMMANDS,
  ERRORS,
  FUA,
  LONGEST,
  parseRequest,
  replyHeader,
  REQUEST_BYTES,
  type Export,
  type Request,
} from './protocol.ts'
import type { Turns } from './turns.ts'

/** a request without data costs memory too, in bytes */
const LEAST = 4096

/** The device as all clients share it. */
export interface Shared {
  readonly device: BlockDevice
  readonly told: Export
  /** writes alone: one that is done sector by sector is not seen half-done, nor undone by its neighbour */
  readonly turns: Turns
}

/** Resolves when so many bytes may be held; call what it gives when they are free again. */
export type Reserve = (bytes: number) => Promise<() => void>

const NO_DATA = Buffer.alloc(0)

/** What the device threw. A place outside of it was refused before, so that a RangeError is a fault of its own too. */
const errorOf = (error: unknown): number =>
  ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')
    ? ERRORS.noSpace
    : ERRORS.io

/** Why a request is refused before anything is done, or 0. The protocol's "Error values" says which. */
const check = ({ told }: Shared, { command, flags, offset, length }: Request): number => {
  const { readOnly, canFlush } = told
  if ((flags & ~(canFlush ? FUA : 0)) !== 0) return ERRORS.invalid
  const isOutside = offset + BigInt(length) > BigInt(told.size)
  switch (command) {
    case COMMANDS.read:
      return isOutside || length > LONGEST ? ERRORS.invalid : ERRORS.none
    case COMMANDS.write:
      if (readOnly) return ERRORS.permission
      if (length > LONGEST) return ERRORS.invalid
      return isOutside ? ERRORS.noSpace : ERRORS.none
    case COMMANDS.flush:
      return canFlush ? ERRORS.none : ERRORS.invalid
    case COMMANDS.trim:
    case COMMANDS.writeZeroes:
      return readOnly ? ERRORS.permission : ERRORS.invalid
    default:
      return ERRORS.invalid
  }
}

const perform = async (shared: Shared, request: Request, payload: Buffer): Promise<Buffer> => {
  const { device, turns } = shared
  const { command, flags, length } = request
  const offset = Number(request.offset)
  if (command === COMMANDS.read) {
    const data = await turns.together(() => device.read(offset, length))
    // the client would take what comes next for the rest of it
    if (data.length !== length) throw new Error(`${data.length} bytes where ${length} were asked for`)
    return data
  }
  if (command === COMMANDS.write) await turns.alone(async () => device.write?.(offset, payload))
  if (command === COMMANDS.flush || (flags & FUA) !== 0) await turns.together(async () => device.flush?.())
  return NO_DATA
}

const answer = async (shared: Shared, peer: Peer, request: Request, payload: Buffer): Promise<void> => {
  const reply = await perform(shared, request, payload).catch(errorOf)
  if (typeof reply === 'number') await peer.send(replyHeader(reply, request.cookie))
  else await peer.send(replyHeader(ERRORS.none, request.cookie), reply)
}

const bytesOf = ({ command, length }: Request): number =>
  Math.max(LEAST, command === COMMANDS.flush ? 0 : length)

const payloadOf = (peer: Peer, { command, length }: Request): Promise<Buffer | undefined> =>
  command === COMMANDS.write ? peer.take(length, true) : Promise.resolve(NO_DATA)

/** Says no; the payload of a write that is refused is read first, without being kept. False if the client has gone. */
const refuse = async (peer: Peer, { command, cookie, length }: Request, error: number): Promise<boolean> =>
  (command !== COMMANDS.write || (await peer.skip(length))) && peer.send(replyHeader(error, cookie))

/**
 * Answers requests until the client disconnects, ends, or sends what is none; then finishes what is under way. Several are in
 * flight at once, as many as `reserve` lets in; their memory is free again when the kernel has the reply. A client that does
 * not take its replies is not read from any more.
 */
export const transmit = async (shared: Shared, peer: Peer, reserve: Reserve): Promise<void> => {
  const running = new Set<Promise<void>>()
  for (;;) {
    const header = await peer.take(REQUEST_BYTES)
    const request = header === undefined ? undefined : parseRequest(header)
    if (request === undefined || request.command === COMMANDS.disconnect) break
    const refused = check(shared, request)
    if (refused !== ERRORS.none) {
      if (await refuse(peer, request, refused)) continue
      break
    }
    const free = await reserve(bytesOf(request))
    const payload = await payloadOf(peer, request)
    if (payload === undefined) {
      free()
      break
    }
    const work: Promise<void> = answer(shared, peer, request, payload).finally(() => {
      free()
      running.delete(work)
    })
    running.add(work)
  }
  await Promise.all(running)
}
