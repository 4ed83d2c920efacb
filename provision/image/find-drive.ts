import { realpath, stat } from 'node:fs/promises'
import type { Change, Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { trim } from '../tools/geom.ts'
import { blkdiscard } from '../tools/lsblk.ts'
import { checkSize, chooseDrive, describeDrive, wordsOf, type Drives } from './drives.ts'
import { readDrivesFreebsd } from './drives-freebsd.ts'
import { readDrivesLinux } from './drives-linux.ts'

/** What the image goes to: a drive that was looked at, or a file in place of one. */
export interface Target {
  readonly path: string
  /** for people */
  readonly name: string
  /** what may be typed to confirm it */
  readonly words: readonly string[]
  /** file systems that are on it */
  readonly holds: readonly string[]
  readonly bytes: number
  readonly sectorBytes: number
  readonly isFile: boolean
}

/** The drives of this machine; `path` is the one that is wanted. Throws `platform` where knox does not know how to look. */
export const readDrives = async (runner: Runner, path?: string): Promise<Drives> => {
  if (process.platform === 'linux') return readDrivesLinux(runner)
  if (process.platform === 'freebsd') return readDrivesFreebsd(runner, path)
  throw new KnoxError(
    'platform',
    `knox flash knows the drives of Linux and FreeBSD, not of ${process.platform}`,
    ['write the image with a program of this system, such as Raspberry Pi Imager'],
  )
}

/** The command that discards a whole drive here. */
export const discardCommand = (path: string): Change =>
  process.platform === 'linux' ? blkdiscard(path) : trim(path)

const refused = (message: string, hint: string) =>
  new KnoxError('refused', message, ['nothing was changed', hint])

const fileTarget = (path: string, fileBytes: number, imageBytes: number): Target => {
  checkSize(path, fileBytes, imageBytes)
  return { path, name: path, words: [path], holds: [], bytes: fileBytes, sectorBytes: 1, isFile: true }
}

/**
 * Looks at what was named and says why it cannot be written to: throws `disk` if there is nothing, `refused` for what
 * is no whole free drive, `no-space` if the image does not fit. `toFile` takes a regular file, and only that.
 */
export const findTarget = async (
  runner: Runner,
  named: string,
  imageBytes: number,
  toFile: boolean,
): Promise<Target> => {
  const plain = /^[^/]+$/.test(named) && !toFile ? `/dev/${named}` : named
  const path = await realpath(plain).catch(async () => {
    const isFile = plain !== named && (await stat(named).catch(() => undefined))?.isFile() === true
    throw new KnoxError('disk', `there is no ${plain}`, [
      ...(isFile ? [`${named} is a file: --to-file writes into a file`] : []),
      'knox flash without words lists the drives',
    ])
  })
  const info = await stat(path)
  if (toFile) {
    if (!info.isFile()) throw refused(`${named} is no file`, 'without --to-file it is taken for a drive')
    return fileTarget(path, info.size, imageBytes)
  }
  if (info.isFile()) throw refused(`${named} is a file, not a drive`, '--to-file writes into a file')
  // FreeBSD's disks are character devices
  const isDevice = process.platform === 'freebsd' ? info.isCharacterDevice() : info.isBlockDevice()
  if (!isDevice) throw refused(`${named} is not a drive`, 'knox flash without words lists the drives')
  const found = await readDrives(runner, path)
  const drive = chooseDrive(found, path, imageBytes)
  return {
    path: drive.path,
    name: describeDrive(drive),
    words: wordsOf(drive, found.drives),
    holds: drive.holds,
    bytes: drive.bytes,
    sectorBytes: drive.sectorBytes,
    isFile: false,
  }
}
