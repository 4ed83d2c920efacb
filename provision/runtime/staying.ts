import type { Session } from './session.ts'

/** seconds between two signs of life, well below the 15 minutes of the box */
const STAY = 240

/**
 * Runs work that says nothing to the box, however long it takes, and lets the session live meanwhile. Throws what work throws; a box that
 * no longer answers is noticed by what is said to it next.
 */
export const staying = async <T>(session: Session, work: () => Promise<T>, every = STAY): Promise<T> => {
  let last: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    last = last.then(() => session.stay()).catch(() => undefined)
  }, every * 1000)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    await last
  }
}
