import { createServer, type Socket } from 'node:net'
import type { BlockDevice } from '../core/block-device.ts'
import { budgetOf, type Budget } from './budget.ts'
import { shakeHands } from './handshake.ts'
import { peerOf, type Peer } from './peer.ts'
import { LONGEST, type Export } from './protocol.ts'
import { clearPath, listenPrivately } from './socket-file.ts'
import { transmit, type Shared } from './transmission.ts'
import { takeTurns } from './turns.ts'

/** What clients may take up. Together they hold no more than `clients` x `share` and one more `LONGEST`: 64 MiB. */
export interface Limits {
  /** at once; one more is let go without a word */
  readonly clients: number
  /** bytes that one client may have in flight; a longer request waits for the one place that all have for such */
  readonly share: number
  /** that a client may take for the handshake */
  readonly handshakeSeconds: number
  /** that a client may leave a reply untaken, or something that it has begun unfinished */
  readonly stallSeconds: number
}

const LIMITS: Limits = { clients: 16, share: 2 * 1024 * 1024, handshakeSeconds: 10, stallSeconds: 300 }

export interface ServeOptions {
  readonly device: BlockDevice
  /** of the unix socket */
  readonly path: string
  /** default true; so is a device that has no `write` */
  readonly readOnly?: boolean
  /** clients that ask for no name get it too; default: it has no name */
  readonly exportName?: string
  readonly limits?: Partial<Limits>
}

export interface NbdServer {
  readonly path: string
  /** Resolves when it is stopped and its socket is gone. */
  readonly closed: Promise<void>
  /** bytes in flight now, of all clients */
  readonly inFlight: () => number
  /**
   * Takes nobody in and reads no request any more, answers what is under way for `seconds` at the most (default 5), lets all
   * clients go and removes the socket. A device that hangs is not waited for.
   */
  readonly stop: (seconds?: number) => Promise<void>
}

interface Client {
  readonly peer: Peer
  readonly budget: Budget
  readonly done: Promise<void>
}

const describe = ({ device, readOnly = true, exportName = '' }: ServeOptions): Export => {
  const isReadOnly = readOnly || device.write === undefined
  const canFlush = !isReadOnly && device.flush !== undefined
  return { name: exportName, size: device.size, readOnly: isReadOnly, canFlush }
}

const within = async (seconds: number, work: Promise<unknown>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, seconds * 1000)))
  await Promise.race([work, late])
  clearTimeout(timer)
}

/**
 * Serves one device to NBD clients on a unix socket that only its owner can open, read-only unless it is said otherwise. No
 * client can end it or fill its memory, nor hold up what others ask for within their share. Throws `busy` if the path is served
 * already, `refused` if something else stands there, `usage` if it is too long, `failed` if the socket cannot be made.
 */
export const serveNbd = async (options: ServeOptions): Promise<NbdServer> => {
  const { device, path } = options
  const limits: Limits = { ...LIMITS, ...options.limits }
  const shared: Shared = { device, told: describe(options), turns: takeTurns() }
  const large = budgetOf(LONGEST)
  const clients = new Map<Socket, Client>()

  const attend = async (socket: Socket, peer: Peer, budget: Budget): Promise<void> => {
    const late = setTimeout(() => peer.destroy(), limits.handshakeSeconds * 1000)
    const reserve = (bytes: number) => (bytes > limits.share ? large : budget).take(bytes)
    try {
      const agreed = await shakeHands(peer, shared.told).finally(() => clearTimeout(late))
      if (agreed) await transmit(shared, peer, reserve)
    } finally {
      socket.destroySoon()
    }
  }

  await clearPath(path)
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    if (clients.size >= limits.clients) {
      socket.destroy()
      return
    }
    const [peer, budget] = [peerOf(socket, limits.stallSeconds), budgetOf(limits.share)]
    clients.set(socket, { peer, budget, done: attend(socket, peer, budget) })
    socket.once('close', () => clients.delete(socket))
  })
  await listenPrivately(server, path)

  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()))
  let stopped: Promise<void> | undefined
  const stop = async (seconds: number): Promise<void> => {
    server.close()
    const all = [...clients.values()]
    for (const { peer } of all) peer.stopReading()
    await within(seconds, Promise.all(all.map(({ done }) => done)))
    for (const { peer } of all) peer.destroy()
    await closed
  }
  return {
    path,
    closed,
    inFlight: () => [...clients.values()].reduce((sum, { budget }) => sum + budget.used(), large.used()),
    stop: (seconds = 5) => (stopped ??= stop(seconds)),
  }
}
