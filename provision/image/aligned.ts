/** Memory for direct I/O, which must begin at a page. */

interface Memory {
  readonly buffer: ArrayBuffer
}

// node's types leave it out: they have the web's parts only where node documents them
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { readonly Memory: new (limits: { initial: number; maximum: number }) => Memory }
}

const WASM_PAGE = 65_536

/** A pool of buffers, each at the beginning of a page; node’s own begin anywhere, memory of WebAssembly does not. */
export interface AlignedPool {
  /** Runs work with a buffer that nobody else has meanwhile; waits until one is free. */
  readonly use: <T>(work: (buffer: Buffer) => Promise<T>) => Promise<T>
}

/** `bytes` is a multiple of 64 KiB. */
export const alignedPool = (count: number, bytes: number): AlignedPool => {
  const pages = (count * bytes) / WASM_PAGE
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const free: Buffer[] = Array.from({ length: count }, (_, index) =>
    Buffer.from(buffer, index * bytes, bytes),
  )
  const waiting: ((buffer: Buffer) => void)[] = []
  const take = (): Promise<Buffer> =>
    new Promise((resolve) => {
      const next = free.pop()
      if (next === undefined) waiting.push(resolve)
      else resolve(next)
    })
  const give = (buffer: Buffer) => {
    const next = waiting.shift()
    if (next === undefined) free.push(buffer)
    else next(buffer)
  }
  return {
    use: async (work) => {
      const buffer = await take()
      try {
        return await work(buffer)
      } finally {
        give(buffer)
      }
    },
  }
}
