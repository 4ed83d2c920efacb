/** Bytes of one client that may be in memory at once; whoever wants more waits for its turn. */
export interface Budget {
  /** Resolves when that much is free; call what it gives once it is free again. */
  readonly take: (bytes: number) => Promise<() => void>
  readonly used: () => number
}

/** First come, first served. One that wants more than all of it gets it alone. */
export const budgetOf = (total: number): Budget => {
  let used = 0
  const waiting: { readonly bytes: number; readonly go: () => void }[] = []
  const serve = () => {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      if (used > 0 && used + next.bytes > total) return
      waiting.shift()
      used += next.bytes
      next.go()
    }
  }
  return {
    take: async (bytes) => {
      await new Promise<void>((go) => {
        waiting.push({ bytes, go })
        serve()
      })
      let given = true
      return () => {
        if (given) used -= bytes
        given = false
        serve()
      }
    },
    used: () => used,
  }
}
