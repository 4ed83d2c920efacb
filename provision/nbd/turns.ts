/** Who may use a device at the same time. First come, first served: nobody waits for ever. */
export interface Turns {
  /** Runs work beside other work of this kind, after every `alone` that came before it. */
  readonly together: <T>(work: () => Promise<T>) => Promise<T>
  /** Runs work when all that came before it has ended; what comes later waits for it. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
}

export const takeTurns = (): Turns => {
  let running = 0
  let isAlone = false
  const waiting: { readonly alone: boolean; readonly go: () => void }[] = []

  const serve = () => {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      if (isAlone || (next.alone && running > 0)) return
      waiting.shift()
      running += 1
      isAlone = next.alone
      next.go()
    }
  }
  const inTurn = async <T>(alone: boolean, work: () => Promise<T>): Promise<T> => {
    await new Promise<void>((go) => {
      waiting.push({ alone, go })
      serve()
    })
    try {
      return await work()
    } finally {
      running -= 1
      isAlone = false
      serve()
    }
  }
  return { together: (work) => inTurn(false, work), alone: (work) => inTurn(true, work) }
}
