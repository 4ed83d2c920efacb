import { KnoxError } from '../core/errors.ts'
import { formatBytes } from '../core/sizes.ts'

/** A drive an image could be written to, alike on every system. */
export interface Drive {
  /** such as /dev/sdb */
  readonly path: string
  /** other names of the same device */
  readonly aliases: readonly string[]
  readonly model: string
  readonly serial: string | undefined
  /** usb, mmc, sata ... where the system tells */
  readonly bus: string | undefined
  readonly bytes: number
  readonly sectorBytes: number
  readonly readOnly: boolean
  /** a memory disk, a file as a device: taken when named, never offered */
  readonly virtual: boolean
  /** the running system lives on it */
  readonly system: boolean
  /** what uses it now: mount points, `swap`, pools; empty if nothing does */
  readonly uses: readonly string[]
  /** file systems that are on it */
  readonly holds: readonly string[]
}

/** What a name that is no drive stands for, such as a partition. */
export interface Part {
  readonly names: readonly string[]
  /** `a partition`, `a logical volume` ... */
  readonly what: string
  /** path of the drive it is on */
  readonly drive: string
}

export interface Drives {
  readonly drives: readonly Drive[]
  readonly parts: readonly Part[]
}

/** Mount points without which a system does not run. */
export const SYSTEM_MOUNTS: readonly string[] = ['/', '/boot', '/boot/efi', '/boot/firmware', '/usr', '/var']

/** `/dev/sdb SanDisk Ultra (usb, 29.7 GiB)`. */
export const describeDrive = ({ path, model, bus, bytes }: Drive): string =>
  `${path} ${model} (${bus === undefined ? '' : `${bus}, `}${formatBytes(bytes)})`

const stateOf = (drive: Drive): string => {
  if (drive.system) return 'the system’s own drive'
  if (drive.uses.length > 0) return `in use: ${drive.uses.join(', ')}`
  if (drive.bytes === 0) return 'no card in it'
  if (drive.readOnly) return 'write-protected'
  return drive.holds.length > 0 ? `holds ${drive.holds.join(', ')}` : 'nothing mounted'
}

/** The drives as a list for people: those that can be written to first. */
export const describeDrives = (drives: readonly Drive[]): string => {
  const shown = drives.filter(({ virtual }) => !virtual)
  if (shown.length === 0) return 'no drive was found'
  const free = shown.filter((drive) => refusalOf(drive) === undefined)
  const lines = [...free, ...shown.filter((drive) => !free.includes(drive))].map(
    (drive) => `${describeDrive(drive)}: ${stateOf(drive)}`,
  )
  return lines.join('\n')
}

const refusalOf = (drive: Drive): KnoxError | undefined => {
  const refused = (message: string, hint: string) =>
    new KnoxError('refused', message, ['nothing was changed', hint])
  if (drive.system)
    return refused(
      `${describeDrive(drive)} holds the running system (${drive.uses.join(', ')})`,
      'knox flash without words lists the drives',
    )
  if (drive.uses.length > 0)
    return refused(
      `${describeDrive(drive)} is in use: ${drive.uses.join(', ')}`,
      'unmount, export or detach it first',
    )
  if (drive.bytes === 0)
    return new KnoxError('disk', `there is no card in ${drive.path}`, ['put it in, then start again'])
  if (drive.readOnly)
    return refused(
      `${describeDrive(drive)} is write-protected`,
      'look for a switch on the card or its adapter',
    )
  return undefined
}

/** Throws `no-space` if the image does not fit. */
export const checkSize = (name: string, driveBytes: number, imageBytes: number): void => {
  if (imageBytes > driveBytes)
    throw new KnoxError(
      'no-space',
      `${name} is too small: it has ${driveBytes} bytes, the image ${imageBytes} (${formatBytes(imageBytes - driveBytes)} more)`,
      ['nothing was changed; use a larger card, or a smaller image.size'],
    )
}

/**
 * The drive of that path (no links in it). Throws `refused` for a partition, a drive in use, the system's drive or one
 * that is write-protected, `disk` if there is none or no card in it, `no-space` if `imageBytes` do not fit.
 */
export const chooseDrive = ({ drives, parts }: Drives, path: string, imageBytes: number): Drive => {
  const part = parts.find(({ names }) => names.includes(path))
  if (part !== undefined)
    throw new KnoxError('refused', `${path} is ${part.what} on ${part.drive}, not a whole drive`, [
      'nothing was changed',
      `the image belongs on ${part.drive}`,
    ])
  const drive = drives.find((one) => one.path === path || one.aliases.includes(path))
  if (drive === undefined)
    throw new KnoxError('disk', `${path} is not a drive of this machine`, [
      'knox flash without words lists the drives',
    ])
  const refusal = refusalOf(drive)
  if (refusal !== undefined) throw refusal
  checkSize(describeDrive(drive), drive.bytes, imageBytes)
  return drive
}

/** What may be typed to confirm a drive: its path, its name, and its model if no other drive is of that model. */
export const wordsOf = ({ path, model }: Drive, all: readonly Drive[]): readonly string[] => {
  const isOnly = all.filter((drive) => drive.model === model).length === 1
  return [path, path.replace(/^\/dev\//, ''), ...(isOnly && model !== 'unknown model' ? [model] : [])]
}

/** The question before a drive is written: what is lost, and what to type. */
export const lossOf = (drive: {
  readonly name: string
  readonly holds: readonly string[]
  readonly words: readonly string[]
}): string => {
  const held = drive.holds.length === 0 ? '' : `, which holds ${drive.holds.join(', ')},`
  return `everything on ${drive.name}${held} will be lost; type ${drive.words.join(' or ')} to go on:`
}
