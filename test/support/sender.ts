import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Session } from '../../provision/runtime/session.ts'
import { isAlive, tempFolder } from './expect.ts'
import { HELLO, ignore } from './fake-box.ts'

/** a box up to the first byte of a stream */
export const READY = [HELLO, 'hear receive|full|wd', 'say ready']

/** For failureAt: sends what the program writes. */
export const receive = (send: readonly string[]) => (session: Session) =>
  session.receive('full', 'wd', send, ignore)

/** A program in place of `zfs send`; `gone` tells whether it has ended. */
export const sender = async (t: TestContext, script: string) => {
  const file = join(await tempFolder(t), 'pid')
  const argv = ['sh', '-c', `echo $$ > '${file}'; ${script}`]
  const gone = async () => !isAlive(Number(await readFile(file, 'utf8')))
  return { argv, gone }
}
