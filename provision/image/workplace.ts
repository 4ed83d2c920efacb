import type { Change, Read, Runner } from '../core/command.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import { mdDetach, memoryDisks } from '../tools/mdconfig.ts'
import { mounts, unmount } from '../tools/mount.ts'
import { insist } from './steps.ts'

/**
 * Where an image is worked on: a folder beside it, whose names follow from the image's, with the mount points in it and
 * the unit of the memory disk written down. So whoever comes after a crash finds what is left, and knows it for ours.
 */

export interface Workplace {
  /** absolute, without links: as mdconfig(8) lists it */
  readonly image: string
  readonly folder: string
  /** where its root file system is mounted, and its FAT slice */
  readonly root: string
  readonly boot: string
}

export const workplaceOf = (image: string): Workplace => {
  const folder = `${image}.work`
  return { image, folder, root: `${folder}/root`, boot: `${folder}/boot` }
}

/** Makes the folder and writes down the unit, before anything is attached. */
export const recordUnit = ({ folder }: Workplace, unit: number): Change => ({
  effect: 'change',
  argv: [
    ...['/bin/sh', '-c', 'umask 077; mkdir -p "$1/root" "$1/boot" && echo "$2" > "$1/unit"', 'sh'],
    ...[folder, unit.toString()],
  ],
})

const recordedUnit = ({ folder }: Workplace): Read<number | undefined> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', 'cat "$1/unit" 2>/dev/null || :', 'sh', folder],
  parse: (stdout) => (/^\d+\n$/.test(stdout) ? Number(stdout) : undefined),
})

const forget = ({ folder }: Workplace): Change => ({
  effect: 'change',
  argv: [
    ...['/bin/sh', '-c'],
    'for d in root boot; do if [ -d "$1/$d" ]; then rmdir "$1/$d" || exit; fi; done; rm -f "$1/unit"; rmdir "$1" 2>/dev/null || :',
    ...['sh', folder],
  ],
})

/** Where an image really is. */
export const realPath = (path: string): Read<string> => ({
  effect: 'read',
  argv: ['realpath', path],
  parse: (stdout) => stdout.replace(/\n$/, ''),
  failures: [{ pattern: /No such file/, code: 'config', message: `there is no image ${path}` }],
})

const unmountAll = async (runner: Runner, { root, boot }: Workplace): Promise<void> => {
  const isOurs = ({ on }: { readonly on: string }) => on === root || on === boot
  await insist(async (attempt) => {
    // the newest first: one mount point can have been used twice
    const ours = (await runner.read(mounts)).filter(isOurs).toReversed()
    for (const { on } of ours) await runner.act(unmount(on, attempt > 2))
    if (ours.length === 0) return
    if ((await runner.read(mounts)).some(isOurs))
      throw new KnoxError('failed', 'the image is still mounted', [`umount ${root}`])
  })
}

const detach = async (runner: Runner, place: Workplace): Promise<void> => {
  const attached = async () => (await runner.read(memoryDisks)).filter(({ file }) => file === place.image)
  if ((await attached()).length === 0) return
  const unit = await runner.read(recordedUnit(place))
  await insist(async () => {
    for (const disk of await attached()) if (disk.unit === unit) await runner.act(mdDetach(disk.unit))
  })
  const [other] = await attached()
  if (other !== undefined)
    throw new KnoxError('busy', `the image is attached as md${other.unit}, and not by knox: ${place.image}`, [
      `if nobody needs it: umount what is mounted from it, then mdconfig -d -u ${other.unit}`,
    ])
}

/**
 * Takes down what is mounted and attached of this image, now or by a run that was killed: only mount points of ours, and
 * only a memory disk that is written down and has this file behind it. Throws `busy` if it is attached by others too.
 */
export const takeDown = async (runner: Runner, place: Workplace): Promise<void> => {
  await unmountAll(runner, place)
  await detach(runner, place)
  await runner.act(forget(place))
}

/** What takeDown runs where nothing is left. */
export const takeDownCommands = (place: Workplace): readonly (Change | Read<unknown>)[] => [
  mounts,
  memoryDisks,
  forget(place),
]

/** The first unit that is free. */
export const freeUnit = async (runner: Runner): Promise<number> => {
  const taken = new Set((await runner.read(memoryDisks)).map(({ unit }) => unit))
  for (let unit = 0; ; unit += 1) if (!taken.has(unit)) return unit
}

/** The error of the work, with what is left behind if it could not be taken down. */
export const withLeftover = (error: unknown, leftover: unknown): unknown => {
  const hints = leftover instanceof KnoxError ? leftover.hints : []
  const said = [`and the image is still attached or mounted: ${messageOf(leftover)}`, ...hints]
  return error instanceof KnoxError
    ? new KnoxError(error.code, error.message, [...error.hints, ...said], { cause: error })
    : error
}
