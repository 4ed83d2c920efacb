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

/** Reads little more than what is asked for, so that a client that sends without end fills no memory. */
export const peerOf = (socket: Socket): Peer => {
  let chunks: Buffer[] = []
  let have = 0
  let wanted = 0
  let over = false
  let wake: () => void = () => undefined

  const finish = () => {
    over = true
    wake()
  }
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    have += chunk.length
    if (have < wanted) return
    socket.pause()
    wake()
  })
  socket.on('error', finish).on('end', finish).on('close', finish)

  return {
    take: async (length) => {
      wanted = length
      while (have < length && !over) {
        await new Promise<void>((resolve) => {
          wake = resolve
          socket.resume()
        })
      }
      if (have < length) return undefined
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
      const rest = all.subarray(length)
      chunks = rest.length === 0 ? [] : [rest]
      have = rest.length
      return all.subarray(0, length)
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
      socket.pause()
      finish()
    },
    destroy: () => socket.destroy(),
  }
}
