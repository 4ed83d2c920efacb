import { exitCodeOf, messageOf } from '../core/errors.ts'
import { findMetadata } from '../geli/find-metadata.ts'
import { initMetadata } from '../geli/init.ts'
import { encodeMetadata } from '../geli/metadata.ts'
import { openProvider } from '../geli/provider.ts'
import { serveNbd } from '../nbd/server.ts'
import { openBlockFile } from '../system/block-file.ts'

/**
 * What the lab's geli(8) does with a disk, in GELI's own format:
 *   init DISK SECTORSIZE SECTOR   writes new metadata; the key comes by stdin
 *   check DISK                    says whether there is good metadata
 *   serve DISK SOCKET             decrypted, as NBD on the socket until nobody is connected any more; the key comes by stdin
 */

const [verb, path = '', ...words] = process.argv.slice(2)

const readKey = async (): Promise<Buffer> => {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const init = async (): Promise<void> => {
  const [sectorsize, block] = words.map(Number)
  const key = await readKey()
  const disk = await openBlockFile(path, { writable: true })
  const blockSize = block ?? 512
  const provsize = disk.size - (disk.size % blockSize)
  const metadata = await initMetadata({ provsize, sectorsize: sectorsize ?? 4096, keyFiles: [key] })
  await disk.write?.(provsize - blockSize, encodeMetadata(metadata, blockSize))
  await disk.flush?.()
  await disk.close()
}

const check = async (): Promise<void> => {
  const disk = await openBlockFile(path)
  await findMetadata(disk).finally(() => disk.close())
}

const serve = async (): Promise<void> => {
  const key = await readKey()
  const disk = await openBlockFile(path, { writable: true })
  const provider = await openProvider(disk, { keyFiles: [key], writable: true })
  key.fill(0)
  const server = await serveNbd({ device: provider, path: words[0] ?? '', readOnly: false, exportName: '' })
  // the one that attached it says when it is detached
  await new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()))
  await server.stop()
  provider.close()
  await disk.close()
}

const WORK: Readonly<Record<string, () => Promise<void>>> = { init, check, serve }

try {
  await WORK[verb ?? '']?.()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = exitCodeOf(error)
}
