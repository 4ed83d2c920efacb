import type { Socket } from 'node:net'

/** One client's connection, read in exact lengths. */
export interface Peer {
  /** Exactly `length` bytes; undefined if the client ends before. One at a time. */
  readonly take: (length: number) => Promise<Buffer | undefined>
  /** Resolves once the kernel has all of it; false if the client has gone. Slow readers are waited for. */
  readonly send: (...parts: readonly Buffer[]) => Promise<boolean>
  /** From now on nothing more is read: `take` gives undefined. What is sent still goes out. */
  readonly stopReading: () => void
  readonly destroy: () => void
}

/** Reads only what is asked for, so that a client that sends without end fills no memory. */
export const peerOf = (socket: Socket): Peer => {
  let over = false
  let stopped = false
  /** told when no more comes: whoever waits for bytes, or for the kernel to take some */
  const waiting = new Set<() => void>()
  const finish = () => {
    over = true
    for (const wake of waiting) wake()
  }
  socket.on('error', finish).on('end', finish).on('close', finish)

  const waitForMore = () =>
    new Promise<void>((resolve) => {
      const done = () => {
        socket.off('readable', done)
        waiting.delete(done)
        resolve()
      }
      socket.on('readable', done)
      waiting.add(done)
    })

  return {
    take: async (length) => {
      if (length === 0) return Buffer.alloc(0)
      while (!stopped) {
        const bytes = socket.read(length) as Buffer | null
        // at the end of a stream read() gives what is left, which may be less
        if (bytes !== null) return bytes.length === length ? bytes : undefined
        if (over || socket.destroyed) return undefined
        await waitForMore()
      }
      return undefined
    },
    send: (...parts) =>
      new Promise((resolve) => {
        if (socket.destroyed || !socket.writable) {
          resolve(false)
          return
        }
        socket.cork()
        for (const part of parts.slice(0, -1)) socket.write(part)
        // a socket that is destroyed calls back too, with an error
        socket.write(parts.at(-1) ?? Buffer.alloc(0), (error) =>
          resolve(error === undefined || error === null),
        )
        socket.uncork()
      }),
    stopReading: () => {
      stopped = true
      finish()
    },
    destroy: () => socket.destroy(),
  }
}
