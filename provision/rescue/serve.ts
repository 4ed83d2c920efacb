import type { BlockDevice } from '../core/block-device.ts'
import { serveNbd } from '../nbd/server.ts'

export interface Served {
  /** Serves until the signal; then what is under way is finished, and the socket is gone. */
  readonly until: (stopped: AbortSignal) => Promise<void>
}

/** Serves a device on a unix socket of mode 0600, read-only unless `writable`. Throws `busy` if somebody serves there already. */
export const serveDisk = async (device: BlockDevice, path: string, writable: boolean): Promise<Served> => {
  const server = await serveNbd({ device, path, readOnly: !writable, exportName: '' })
  return {
    until: async (stopped) => {
      await new Promise<void>((resolve) => {
        if (stopped.aborted) resolve()
        else stopped.addEventListener('abort', () => resolve(), { once: true })
      })
      await server.stop(1)
    },
  }
}
