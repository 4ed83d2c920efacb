import type { BlockDevice } from '../core/block-device.ts'
import type { Budget } from './budget.ts'
import type { Peer } from './peer.ts'
import {
  COMMANDS,
  ERRORS,
  FUA,
  LONGEST,
  parseRequest,
  replyHeader,
  REQUEST_BYTES,
  type Request,
} from './protocol.ts'

/** a request without data costs memory too */
const LEAST = 4096

/** The device as all clients share it. */
export interface Shared {
  readonly device: BlockDevice
  readonly readOnly: boolean
  /** Runs writes one after another: two that touch parts of one sector must not overtake each other. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>
}

const errorOf = (error: unknown): number => (error instanceof RangeError ? ERRORS.invalid : ERRORS.io)

/** Why a request is refused before anything is done, or 0. */
const check = ({ device, readOnly }: Shared, { command, flags, offset, length }: Request): number => {
  const known = command === COMMANDS.write ? FUA : command === COMMANDS.read ? FUA : 0
  if ((flags & ~known) !== 0) return ERRORS.invalid
  const outside = offset + BigInt(length) > BigInt(device.size)
  switch (command) {
    case COMMANDS.read:
      return outside || length > LONGEST ? ERRORS.invalid : ERRORS.none
    case COMMANDS.write:
      if (readOnly || device.write === undefined) return ERRORS.permission
      return outside ? ERRORS.noSpace : ERRORS.none
    case COMMANDS.flush:
      return ERRORS.none
    default:
      return ERRORS.invalid
  }
}

const perform = async (
  { device, inTurn }: Shared,
  { command, flags, offset, length }: Request,
  payload: Buffer,
): Promise<Buffer> => {
  const at = Number(offset)
  if (command === COMMANDS.read) return device.read(at, length)
  await inTurn(async () => {
    if (command === COMMANDS.write) await device.write?.(at, payload)
    if (command === COMMANDS.flush || (flags & FUA) !== 0) await device.flush?.()
  })
  return Buffer.alloc(0)
}

const serve = async (shared: Shared, peer: Peer, request: Request, payload: Buffer): Promise<void> => {
  const refused = check(shared, request)
  if (refused !== ERRORS.none) {
    await peer.send(replyHeader(refused, request.cookie))
    return
  }
  try {
    const data = await perform(shared, request, payload)
    await peer.send(replyHeader(ERRORS.none, request.cookie), data)
  } catch (error) {
    await peer.send(replyHeader(errorOf(error), request.cookie))
  }
}

/**
 * Answers requests until the client disconnects, ends, or sends what is none. Several are in flight at once, as many as the
 * budget holds; their memory is free again when the kernel has the reply.
 */
export const transmit = async (shared: Shared, peer: Peer, budget: Budget): Promise<void> => {
  const running = new Set<Promise<void>>()
  for (;;) {
    const header = await peer.take(REQUEST_BYTES)
    const request = header === undefined ? undefined : parseRequest(header)
    if (request === undefined || request.command === COMMANDS.disconnect) break
    const isWrite = request.command === COMMANDS.write
    // a payload of that size is for nobody, and what follows it cannot be found without reading it
    if (isWrite && request.length > LONGEST) break
    const hasData = isWrite || request.command === COMMANDS.read
    const free = await budget.take(Math.max(LEAST, hasData ? Math.min(request.length, LONGEST) : 0))
    const payload = isWrite ? await peer.take(request.length) : Buffer.alloc(0)
    if (payload === undefined) {
      free()
      break
    }
    const work: Promise<void> = serve(shared, peer, request, payload).finally(() => {
      free()
      running.delete(work)
    })
    running.add(work)
  }
  await Promise.all(running)
}
