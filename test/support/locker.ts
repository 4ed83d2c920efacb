import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KnoxError } from '../../provision/core/errors.ts'
import { withLock } from '../../provision/system/lock.ts'

/** Holds the lock of a folder ROUNDS times, and writes down when: locker.ts FOLDER ROUNDS START */
const [folder = '', rounds = '', start = ''] = process.argv.slice(2)
const say = (word: string) => appendFile(join(folder, 'log'), `${process.pid} ${word}\n`)

await sleep(Number(start) - Date.now())
for (let done = 0; done < Number(rounds);) {
  try {
    await withLock(folder, async () => {
      await say('in')
      await sleep(5)
      await say('out')
    })
    done += 1
  } catch (error) {
    if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
    await sleep(1 + (process.pid % 5))
  }
}
// the last one leaves a lock behind, as a crash would
await withLock(folder, () => process.exit(0)).catch(() => undefined)
