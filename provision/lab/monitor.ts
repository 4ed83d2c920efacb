import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { KnoxError } from '../core/errors.ts'

/** QEMU's monitor, for what happens to a machine from outside: a disk that is pulled, for instance. */

interface Reply {
  readonly return?: unknown
  readonly error?: { readonly desc: string }
}

/** Sends commands of the QEMU Machine Protocol to the unix socket, one connection for all of them. Throws `failed` if one is refused. */
export const monitor = async (
  path: string,
  commands: readonly (readonly [string, Readonly<Record<string, unknown>>])[],
): Promise<void> => {
  const socket = connect(path)
  try {
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
    for (const [execute, argumentsOf] of [['qmp_capabilities', {}] as const, ...commands]) {
      socket.write(`${JSON.stringify({ execute, arguments: argumentsOf })}\n`)
      for (;;) {
        const line = (await lines.next()) as IteratorResult<string, undefined>
        if (line.value === undefined) throw new KnoxError('failed', `QEMU hung up on ${execute}`)
        // the greeting and events come in between
        const reply = JSON.parse(line.value) as Reply
        if (reply.error !== undefined)
          throw new KnoxError('failed', `QEMU refuses ${execute}: ${reply.error.desc}`)
        if ('return' in reply) break
      }
    }
  } finally {
    socket.destroy()
  }
}

/** Waits until something is true, looked at every tenth of a second; false if it is not within so many seconds. */
export const waitUntil = async (
  isTrue: () => boolean | Promise<boolean>,
  seconds: number,
): Promise<boolean> => {
  const end = Date.now() + seconds * 1000
  while (!(await isTrue())) {
    if (Date.now() > end) return false
    await sleep(100)
  }
  return true
}
