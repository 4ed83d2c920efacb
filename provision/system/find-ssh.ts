import { setMaxListeners } from 'node:events'
import { connect } from 'node:net'
import type { Address } from '../core/names.ts'

/** The longest that a machine on the local network may take to answer, in milliseconds. */
const ANSWER = 1500
const AT_ONCE = 256
/** RFC 4253 section 4.2: lines before the version are few */
const MOST_BANNER = 4096

/** True if something there says that it speaks SSH; nothing is sent to it. */
const speaksSsh = ({ host, port }: Address, signal: AbortSignal): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    let said = ''
    const end = (result: boolean) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
      socket.destroy()
      resolve(result)
    }
    const stop = () => end(false)
    const timer = setTimeout(stop, ANSWER)
    signal.addEventListener('abort', stop)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      said += text
      if (/^SSH-/m.test(said)) end(true)
      else if (said.length > MOST_BANNER) end(false)
    })
    socket.on('error', stop)
    socket.on('close', stop)
  })

/** Those of the addresses where an SSH server answers, in their order. Takes some seconds for a thousand. */
export const findSsh = async (
  addresses: readonly Address[],
  signal: AbortSignal,
): Promise<readonly Address[]> => {
  setMaxListeners(AT_ONCE + 10, signal)
  const found = new Set<Address>()
  const queue = addresses.values()
  const look = async (): Promise<void> => {
    for (const address of queue) {
      if (signal.aborted) return
      if (await speaksSsh(address, signal)) found.add(address)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, look))
  return addresses.filter((address) => found.has(address))
}
