import { randomBytes } from 'node:crypto'
import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'
import { initMetadata } from '../geli/init.ts'
import { encodeMetadata } from '../geli/metadata.ts'
import { openProvider } from '../geli/provider.ts'
import { run } from '../system/process.ts'

/** How fast a disk is decrypted, beside what openssl does with the same cipher on one core. */
export interface DecryptSpeed {
  /** bytes a second */
  readonly knox: number
  readonly openssl: number
}

const SECTOR = 4096
const SIZE = 2 ** 40
const CHUNK = 1024 * 1024

/** A disk of 1 TiB that holds the same megabyte everywhere, and metadata at its end. */
const endlessDevice = (metadata: Buffer): BlockDevice => {
  const noise = randomBytes(CHUNK)
  return {
    size: SIZE,
    read: (offset, length) =>
      Promise.resolve(offset >= SIZE - SECTOR ? metadata.subarray(0, length) : noise.subarray(0, length)),
  }
}

const ofKnox = async (seconds: number): Promise<number> => {
  const key = randomBytes(1024)
  const metadata = await initMetadata({ provsize: SIZE, sectorsize: SECTOR, keyFiles: [key] })
  const provider = await openProvider(endlessDevice(encodeMetadata(metadata, SECTOR)), { keyFiles: [key] })
  const started = performance.now()
  let bytes = 0
  while (performance.now() - started < seconds * 1000) {
    await provider.read(bytes, CHUNK)
    bytes += CHUNK
  }
  const rate = (bytes * 1000) / (performance.now() - started)
  provider.close()
  return rate
}

const ofOpenssl = async (seconds: number): Promise<number> => {
  const words = ['-evp', 'aes-128-xts', '-bytes', SECTOR.toString(), '-seconds', seconds.toString()]
  const { stdout } = await run(['openssl', 'speed', ...words], { timeout: seconds * 10 + 30 })
  const thousands = /^aes-128-xts\s+([0-9.]+)k$/im.exec(stdout)?.[1]
  if (thousands === undefined) throw new KnoxError('platform', 'openssl speed did not say how fast it is')
  return Number(thousands) * 1000
}

/** Measures both, one after the other, for so many seconds each. Throws `platform` without openssl. */
export const measureDecrypt = async (seconds: number): Promise<DecryptSpeed> => ({
  openssl: await ofOpenssl(seconds),
  knox: await ofKnox(seconds),
})
