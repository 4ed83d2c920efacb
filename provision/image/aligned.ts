/** Memory for direct I/O, which must begin at a page. */

// node's types leave it out: they have the web's parts only where node documents them
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  }
}

const WASM_PAGE = 65_536

/** Hands out buffers of zeros that each begin at a page; `bytes` in all. Throws a RangeError when they are used up. */
export const alignedMemory = (bytes: number): ((length: number) => Buffer) => {
  const pages = Math.ceil(bytes / WASM_PAGE)
  // node's own buffers begin anywhere, memory of WebAssembly does not
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  let used = 0
  return (length) => {
    const from = used
    used += Math.ceil(length / WASM_PAGE) * WASM_PAGE
    return Buffer.from(buffer, from, length)
  }
}
