import { lstat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { KnoxError } from '../core/errors.ts'

/** unix(4) of FreeBSD has 104 bytes for it with a zero at the end, unix(7) of Linux has 108; node cuts a longer one without a word */
const LONGEST_PATH = 103

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

/** False only if the kernel says that nobody listens: a server that is busy or not ours lives too. */
const isServed = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))))
  })

/**
 * Removes the socket of a server that died, so that another can take its place. Throws `busy` if it lives, `refused` if
 * something else stands there, `usage` if the path is too long for a socket.
 */
export const clearPath = async (path: string): Promise<void> => {
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new KnoxError('usage', `${path} is too long for a socket: ${LONGEST_PATH} bytes are the most`)
  const info = await lstat(path).catch(() => undefined)
  if (info === undefined) return
  if (!info.isSocket())
    throw new KnoxError('refused', `${path} exists already`, ['nothing was changed; choose another --socket'])
  if (await isServed(path)) throw new KnoxError('busy', `somebody serves on ${path} already`)
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT')
      throw new KnoxError('refused', `${path} is left from another server and cannot be removed`)
  })
}

/**
 * Listens on a socket that has mode 0600 from its first instant: bind(2) happens within `listen`, so the narrow umask holds
 * for it alone. It is removed when the server closes. Throws `failed` if it cannot be made.
 */
export const listenPrivately = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const refuse = (error: Error) =>
      reject(new KnoxError('failed', `${path} cannot be made: ${error.message}`))
    server.once('error', refuse)
    server.once('listening', () => {
      server.off('error', refuse)
      // a client that could not be taken in is its own loss
      server.on('error', () => undefined)
      resolve()
    })
    const before = process.umask(0o177)
    try {
      server.listen(path)
    } finally {
      process.umask(before)
    }
  })
