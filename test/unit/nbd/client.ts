import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A strict NBD client of the tests' own: every byte that the server says is looked at. */

export interface Client {
  readonly socket: Socket
  readonly send: (...parts: readonly Buffer[]) => void
  /** exactly that many bytes; throws if the server ends before */
  readonly take: (length: number) => Promise<Buffer>
  /** resolves when the server has ended the connection; the bytes that came before */
  readonly end: () => Promise<Buffer>
}

export const dial = async (path: string): Promise<Client> => {
  const socket = connect({ path, allowHalfOpen: true })
  await once(socket, 'connect')
  let chunks: Buffer[] = []
  let have = 0
  let over = false
  let wake: () => void = () => undefined
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    have += chunk.length
    wake()
  })
  const finish = () => {
    over = true
    wake()
  }
  socket.on('end', finish).on('close', finish).on('error', finish)
  const until = async (enough: () => boolean) => {
    while (!enough()) await new Promise<void>((resolve) => (wake = resolve))
  }
  const cut = (length: number): Buffer => {
    const all = Buffer.concat(chunks)
    chunks = [all.subarray(length)]
    have -= length
    return all.subarray(0, length)
  }
  return {
    socket,
    send: (...parts) => void socket.write(Buffer.concat(parts)),
    take: async (length) => {
      await until(() => have >= length || over)
      if (have < length) throw new Error(`the server ended after ${have} of ${length} bytes`)
      return cut(length)
    },
    end: async () => {
      await until(() => over)
      return cut(have)
    },
  }
}

export const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
export const u64 = (value: bigint | number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

export const option = (number: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([Buffer.from('IHAVEOPT'), u32(number), u32(data.length), data])

export const infoRequest = (name: string, ...wanted: readonly number[]): Buffer =>
  Buffer.concat([u32(Buffer.byteLength(name)), Buffer.from(name), u16(wanted.length), ...wanted.map(u16)])

/** One reply to an option: its type and data. */
export const takeReply = async (
  client: Client,
): Promise<{ readonly option: number; readonly type: number; readonly data: Buffer }> => {
  const header = await client.take(20)
  if (header.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('no option reply')
  const data = await client.take(header.readUInt32BE(16))
  return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data }
}

/** Greets the server and sends the client's flags. */
export const greet = async (client: Client, flags = 3): Promise<void> => {
  const greeting = await client.take(18)
  if (!greeting.equals(Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)])))
    throw new Error('no greeting')
  client.send(u32(flags))
}

/** Comes to the transmission by GO; returns the size and the flags. */
export const go = async (client: Client, name = ''): Promise<{ size: bigint; flags: number }> => {
  await greet(client)
  client.send(option(7, infoRequest(name)))
  const info = await takeReply(client)
  const ack = await takeReply(client)
  if (info.type !== 3 || ack.type !== 1) throw new Error(`GO: ${info.type} ${ack.type}`)
  return { size: info.data.readBigUInt64BE(2), flags: info.data.readUInt16BE(10) }
}

export interface Ask {
  readonly command: number
  readonly cookie: bigint
  readonly offset?: number | bigint
  readonly length?: number
  readonly flags?: number
  readonly payload?: Buffer
}

export const request = ({ command, cookie, offset = 0, length = 0, flags = 0, payload }: Ask): Buffer =>
  Buffer.concat([
    u32(0x25609513),
    u16(flags),
    u16(command),
    u64(cookie),
    u64(offset),
    u32(payload?.length ?? length),
    payload ?? Buffer.alloc(0),
  ])

/** A simple reply: error and cookie. The data of a read are taken by the caller. */
export const takeSimple = async (client: Client): Promise<{ error: number; cookie: bigint }> => {
  const frame = await client.take(16)
  if (frame.readUInt32BE(0) !== 0x67446698) throw new Error('no simple reply')
  return { error: frame.readUInt32BE(4), cookie: frame.readBigUInt64BE(8) }
}

export interface Answer {
  readonly error: number
  /** of a read that went well */
  readonly data: Buffer
}

/**
 * Many requests in flight over one connection, each with its own answer. Stops at the first reply that belongs to no request:
 * whatever is asked then is rejected.
 */
export const converse = (client: Client): ((ask: Omit<Ask, 'cookie'>) => Promise<Answer>) => {
  const open = new Map<
    bigint,
    {
      readonly length: number
      readonly done: (answer: Answer) => void
      readonly fail: (why: unknown) => void
    }
  >()
  let cookie = 0xfeed_0000_0000_0000n
  const listen = async () => {
    for (;;) {
      const { error, cookie: mine } = await takeSimple(client)
      const request = open.get(mine)
      if (request === undefined) throw new Error(`a reply to nothing: ${mine}`)
      open.delete(mine)
      request.done({ error, data: await client.take(error === 0 ? request.length : 0) })
    }
  }
  let broken: Error | undefined
  listen().catch((why: unknown) => {
    broken = new Error('the conversation is over', { cause: why })
    for (const { fail } of open.values()) fail(broken)
  })
  return (ask) =>
    new Promise((done, fail) => {
      if (broken !== undefined) {
        fail(broken)
        return
      }
      cookie += 1n
      open.set(cookie, { length: ask.command === 0 ? (ask.length ?? 0) : 0, done, fail })
      client.send(request({ ...ask, cookie }))
    })
}

/** A connection that has come to the transmission, ready for many requests. */
export const connected = async (path: string) => {
  const client = await dial(path)
  await go(client)
  return { client, ask: converse(client) }
}
