import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError, messageOf } from '../provision/core/errors.ts'
import { formatBytes, formatDuration } from '../provision/core/sizes.ts'
import { isMarked, LONGEST_END } from '../provision/geli/find-metadata.ts'
import { hashFile, readChecksum } from '../provision/image/checksum.ts'
import { describeDrives, lossOf } from '../provision/image/drives.ts'
import { discardCommand, findTarget, readDrives, type Target } from '../provision/image/find-drive.ts'
import { flashImage, progressOf, type Flashed } from '../provision/image/flash.ts'
import { openDrive, type OpenDrive } from '../provision/image/open-drive.ts'
import { openImage, type ImageSource } from '../provision/image/source.ts'
import { HERE, runnerAt } from '../provision/system/runner.ts'

/** Compares the image with the checksum file beside it, if there is one. Throws `verification`. */
const checkSum = async (knox: Knox, { path }: ImageSource): Promise<void> => {
  const wanted = await readChecksum(path)
  if (wanted === undefined) {
    knox.emit({ type: 'note', text: `there is no ${path}.sha256: the image is taken as it is` })
    return
  }
  knox.emit({ type: 'step', title: `checking ${path}` })
  const found = await hashFile(path, knox.signal, progressOf(knox.emit, 'checked'))
  if (found !== wanted)
    throw new KnoxError('verification', `${path} is not what its checksum file says`, [
      `SHA-256 ${found}, expected ${wanted}`,
      'nothing was changed; build or fetch the image again',
    ])
  knox.emit({ type: 'done', title: `${path} has the right checksum` })
}

/** Throws `refused` for a drive that GELI encrypted: its look tells nobody what is on it. */
const checkEncrypted = async (drive: OpenDrive, target: Target): Promise<void> => {
  const end = drive.allocate(Math.min(LONGEST_END, drive.size))
  await drive.read(drive.size - end.length, end).catch((error: unknown) => {
    throw new KnoxError('disk', `the end of ${target.name} cannot be read: ${messageOf(error)}`, [
      'nothing was changed; it is broken, or smaller than it says',
    ])
  })
  if (!isMarked(end)) return
  throw new KnoxError('refused', `${target.name} is encrypted by GELI: it may hold a backup`, [
    'nothing was changed; --erase says that all of it may be lost',
  ])
}

const discard = async (knox: Knox, target: Target): Promise<void> => {
  if (target.isFile) return
  await runnerAt(HERE, knox.emit)
    .act(discardCommand(target.path))
    .catch((error: unknown) => {
      knox.emit({
        type: 'warning',
        text: `${target.path} was not discarded: ${error instanceof Error ? error.message : ''}`,
      })
    })
}

const sentence = (image: ImageSource, target: Target, flashed: Flashed): string => {
  const rate = formatBytes(flashed.bytes / Math.max(flashed.writeSeconds, 0.001))
  return [
    `${target.name} holds ${image.path}`,
    `${formatBytes(flashed.bytes)} written in ${formatDuration(flashed.writeSeconds)} (${rate}/s),`,
    `read back in ${formatDuration(flashed.readBackSeconds)}: every byte is right`,
  ].join('\n')
}

const flashTo = async (knox: Knox, image: ImageSource, target: Target): Promise<void> => {
  const drive = await openDrive(target.path, target)
  try {
    if (!knox.args.flag('erase')) await checkEncrypted(drive, target)
    await checkSum(knox, image)
    await knox.confirmTyped(lossOf(target), target.words)
    knox.whenStopped([`${target.name} is not complete, or not proved to be: flash it again`])
    if (knox.args.flag('discard')) await discard(knox, target)
    const { emit, signal } = knox
    const flashed = await flashImage({ image, drive, name: target.path, emit, signal })
    knox.result(sentence(image, target, flashed), { image: image.path, drive: target.path, ...flashed })
  } finally {
    await drive.close()
  }
}

/**
 * Exit: 0 written and read back, 2 no drive named, 3 no image, 4 the drive is in use, a part, encrypted by GELI, or not confirmed,
 * 14 wrong checksum or read back wrong, 18 too small, 21 no such drive or it failed, 130 stopped.
 */
export const flash = defineCommand({
  name: 'flash',
  summary: 'write an image to a card or stick and read it back; without words, list the drives',
  positionals: '[IMAGE DEVICE]',
  details: [
    'IMAGE is an .img or .img.xz; IMAGE.sha256 beside it is checked first. Blocks of zeros are not written where the',
    'drive holds zeros already. All that is on DEVICE is lost: it must be typed again, or --yes said with it.',
  ].join('\n'),
  options: {
    discard: {
      type: 'boolean',
      help: 'first tell the drive that nothing on it is wanted: a used card is faster then',
    },
    erase: { type: 'boolean', help: 'also a drive that is encrypted by GELI, which may hold a backup' },
    'to-file': { type: 'boolean', help: 'DEVICE is a file that has the size of a drive' },
  },
  run: async (knox) => {
    const [path, device, ...more] = knox.positionals
    knox.whenStopped(['nothing was changed'])
    const runner = runnerAt(HERE, knox.emit)
    if (more.length > 0)
      throw new KnoxError('usage', `flash takes an image and a drive, not ${more.join(' ')} too`)
    if (path === undefined || device === undefined) {
      const { drives } = await readDrives(runner)
      knox.result(describeDrives(drives), { drives })
      if (path === undefined) return undefined
      throw new KnoxError('usage', 'flash needs the drive too', [`knox flash ${path} DEVICE`])
    }
    const image = await openImage(path, runner)
    const target = await findTarget(runner, device, image.bytes, knox.args.flag('to-file'))
    if (!knox.dryRun) {
      await flashTo(knox, image, target)
      return undefined
    }
    await checkSum(knox, image)
    knox.result(
      `would write ${image.path} (${formatBytes(image.bytes)}) to ${target.name}, and read it back`,
      {
        image: image.path,
        bytes: image.bytes,
        drive: target.path,
      },
    )
    return undefined
  },
})
