import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { ended, type Ran } from './child.ts'
import { tempFolder } from './expect.ts'

/** What `knox flash` is tried with: an image, and a file in place of a drive. */

export const KNOX = join(resolve(import.meta.dirname, '../..'), 'scripts/knox.mjs')

export interface Place {
  readonly dir: string
  /** 9 MiB and a bit: data, zeros, data */
  readonly image: string
  readonly data: Buffer
  /** 12 MiB of old data */
  readonly file: string
  readonly start: (...words: readonly string[]) => ChildProcess
  readonly flash: (...words: readonly string[]) => Promise<Ran>
}

export const MIB = 1024 * 1024
export const old = Buffer.alloc(12 * MIB, 'an old photograph ')

/** Files in a folder of their own, and knox flash there. */
export const place = async (t: TestContext): Promise<Place> => {
  const dir = await tempFolder(t)
  const data = Buffer.concat([randomBytes(2 * MIB), Buffer.alloc(6 * MIB), randomBytes(MIB + 5000)])
  data.writeUInt16LE(0xaa55, 510)
  const [image, file] = [join(dir, 'knox.img'), join(dir, 'card')]
  await writeFile(image, data)
  await writeFile(file, old)
  await mkdir(join(dir, 'bin'))
  const env = { ...process.env, HOME: dir, PATH: `${join(dir, 'bin')}:${process.env['PATH'] ?? ''}` }
  const start = (...words: readonly string[]) =>
    spawn(process.execPath, [KNOX, 'flash', ...words], {
      cwd: dir,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
  return { dir, image, data, file, start, flash: (...words) => ended(start(...words)) }
}

export const isWritten = async ({ data, file }: Place) =>
  (await readFile(file)).subarray(0, data.length).equals(data)
export const isUntouched = async ({ file }: Place) => (await readFile(file)).equals(old)
