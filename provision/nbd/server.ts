import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'
import { budgetOf, type Budget } from './budget.ts'
import { shakeHands } from './handshake.ts'
import { peerOf, type Peer } from './peer.ts'
import type { Export } from './protocol.ts'
import { transmit, type Shared } from './transmission.ts'

export interface ServeOptions {
  readonly device: BlockDevice
  /** of the unix socket */
  readonly path: string
  readonly readOnly: boolean
  readonly exportName: string
  /** seconds that a client may take for the handshake; default 10 */
  readonly handshakeSeconds?: number
  /** bytes that one client may have in flight; default 32 MiB */
  readonly budget?: number
}

export interface NbdServer {
  readonly path: string
  /** bytes in flight now, of all clients */
  readonly inFlight: () => number
  /** Takes nobody in any more, answers what is under way for `seconds` at the most (default 5), and removes the socket. */
  readonly stop: (seconds?: number) => Promise<void>
}

const BUDGET = 32 * 1024 * 1024
const MOST_CLIENTS = 8

interface Client {
  readonly peer: Peer
  readonly budget: Budget
  readonly done: Promise<void>
}

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** Removes the socket of a server that died. Throws `busy` if it lives, `refused` if something else stands there. */
const clearPath = async (path: string): Promise<void> => {
  const info = await lstat(path).catch(() => undefined)
  if (info === undefined) return
  if (!info.isSocket())
    throw new KnoxError('refused', `${path} exists already`, ['nothing was changed; choose another --socket'])
  if (await answers(path)) throw new KnoxError('busy', `somebody serves on ${path} already`)
  await unlink(path)
}

/** The socket is made with mode 0600: bind happens within listen, so the narrow umask holds for it alone. */
const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new KnoxError('failed', `${path} cannot be made: ${error.message}`)),
    )
    server.once('listening', resolve)
    const before = process.umask(0o177)
    try {
      server.listen(path)
    } finally {
      process.umask(before)
    }
  })

const oneAfterAnother = (): Shared['inTurn'] => {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const next = last.then(work)
    last = next.catch(() => undefined)
    return next
  }
}

/**
 * Serves one device to NBD clients on a unix socket that only its owner can open. No client can end it, fill its memory or hold
 * up another one. Throws `busy` if the path is served already, `refused` if something else stands there.
 */
export const serveNbd = async (options: ServeOptions): Promise<NbdServer> => {
  const { device, path, readOnly, exportName, handshakeSeconds = 10 } = options
  const told: Export = { name: exportName, size: device.size, readOnly }
  const shared: Shared = { device, readOnly, inTurn: oneAfterAnother() }
  const clients = new Map<Socket, Client>()

  const attend = async (socket: Socket, peer: Peer, budget: Budget): Promise<void> => {
    const late = setTimeout(() => peer.destroy(), handshakeSeconds * 1000)
    try {
      const agreed = await shakeHands(peer, told).finally(() => clearTimeout(late))
      if (agreed) await transmit(shared, peer, budget)
    } finally {
      socket.end()
      socket.destroySoon()
      clients.delete(socket)
    }
  }

  await clearPath(path)
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    if (clients.size >= MOST_CLIENTS) {
      socket.destroy()
      return
    }
    const [peer, budget] = [peerOf(socket), budgetOf(options.budget ?? BUDGET)]
    clients.set(socket, { peer, budget, done: attend(socket, peer, budget) })
  })
  await listen(server, path)

  return {
    path,
    inFlight: () => [...clients.values()].reduce((sum, { budget }) => sum + budget.used(), 0),
    stop: async (seconds = 5) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const { peer } of clients.values()) peer.stopReading()
      const late = setTimeout(() => {
        for (const { peer } of clients.values()) peer.destroy()
      }, seconds * 1000)
      await Promise.all([...clients.values()].map(({ done }) => done))
      clearTimeout(late)
      await closed
    },
  }
}
