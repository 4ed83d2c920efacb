import type { Socket } from 'node:net'

/** One client's connection, read in exact lengths. */
export interface Peer {
  /**
   * Exactly `length` bytes; undefined if the client ends before, or has gone. One at a time. With `begun` the client is in the
   * midst of something, and may not stop there for long.
   */
  readonly take: (length: number, begun?: boolean) => Promise<Buffer | undefined>
  /** Reads that many bytes and forgets them; false if the client ends before. */
  readonly skip: (length: number) => Promise<boolean>
  /** Resolves once the kernel has all of it; false if the client has gone. Slow readers are waited for. */
  readonly send: (...parts: readonly Buffer[]) => Promise<boolean>
  /** From now on nothing more is read: `take` gives undefined. What is sent still goes out. */
  readonly stopReading: () => void
  readonly destroy: () => void
}

const PIECE = 65_536

/**
 * Reads little more than what is asked for, so that a client that sends without end fills no memory. One that for
 * `stallSeconds` takes nothing of what is sent, or sends nothing of what it has begun, is let go.
 */
export const peerOf = (socket: Socket, stallSeconds: number): Peer => {
  /** read already, asked for by nobody yet: less than what one read(2) gives */
  let rest: Buffer = Buffer.alloc(0)
  let wanted: { readonly into: Buffer; filled: number; readonly begun: boolean } | undefined
  let ended = false
  let over = false
  let sending = 0
  let wake: () => void = () => undefined

  const keep = (chunk: Buffer) => {
    if (wanted === undefined) {
      rest = Buffer.concat([rest, chunk])
      return
    }
    const copied = chunk.copy(wanted.into, wanted.filled)
    wanted.filled += copied
    rest = chunk.subarray(copied)
    if (wanted.filled < wanted.into.length) return
    socket.pause()
    wake()
  }
  const isOver = () => over
  const finish = () => {
    over = true
    wake()
  }
  socket.on('data', keep).on('error', finish).on('close', finish)
  // what a half-closed client has sent before is still good
  socket.on('end', () => {
    ended = true
    wake()
  })
  // it counts from the last byte that came or went
  const countStall = () => socket.setTimeout(stallSeconds * 1000)
  socket.on('timeout', () => {
    if (sending > 0 || wanted?.begun === true) socket.destroy()
  })

  const take: Peer['take'] = async (length, begun = false) => {
    if (isOver()) return undefined
    if (rest.length >= length) {
      const data = rest.subarray(0, length)
      rest = rest.subarray(length)
      return data
    }
    const mine = { into: Buffer.allocUnsafe(length), filled: 0, begun }
    wanted = mine
    keep(rest)
    if (begun) countStall()
    while (mine.filled < length && !ended && !isOver()) {
      await new Promise<void>((resolve) => {
        wake = resolve
        socket.resume()
      })
    }
    wanted = undefined
    return mine.filled === length && !isOver() ? mine.into : undefined
  }

  return {
    take,
    skip: async (length) => {
      for (let left = length; left > 0; left -= Math.min(left, PIECE))
        if ((await take(Math.min(left, PIECE), true)) === undefined) return false
      return true
    },
    send: async (...parts) => {
      if (socket.destroyed || !socket.writable) return false
      sending += 1
      countStall()
      const sent = await new Promise<boolean>((resolve) => {
        socket.cork()
        for (const part of parts.slice(0, -1)) socket.write(part)
        // a socket that is destroyed calls back too, with an error
        socket.write(parts.at(-1) ?? Buffer.alloc(0), (error) =>
          resolve(error === undefined || error === null),
        )
        socket.uncork()
      })
      sending -= 1
      return sent
    },
    stopReading: () => {
      socket.pause()
      finish()
    },
    destroy: () => socket.destroy(),
  }
}
