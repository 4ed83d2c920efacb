import { rmdir } from 'node:fs/promises'
import type { Runner } from '../core/command.ts'
import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { Secret } from '../core/secret.ts'
import { fingerprint, readPublicKeyLine } from '../keys/public-key.ts'
import { ensurePrivateDir } from '../system/files.ts'
import { withLock } from '../system/lock.ts'
import { tidyUp } from '../system/process.ts'
import { HERE, runnerAt, type Place } from '../system/runner.ts'
import { readBoxKeys, type BoxKeys } from './box-keys.ts'
import { memoryDisks } from '../tools/mdconfig.ts'
import { checkingSteps, sha256Of } from './customise-check.ts'
import { writingSteps, type CustomisePlan, type Findings } from './customise-plan.ts'
import { checkStopped } from './drive-io.ts'
import { publishedKey } from './known-keys.ts'
import { overlayOf, type OverlayFile } from './overlay.ts'
import { commandsOf, perform, type Step } from './steps.ts'
import {
  freeUnit,
  realPath,
  takeDown,
  takeDownCommands,
  withLeftover,
  workplaceOf,
  type Workplace,
} from './workplace.ts'

/** A raw image of FreeBSD made into the image of this one box, in place, and the proof that it is. */

/** r295681 of releng/10.2, the revision that the tutorial built; any fixed time would do */
export const DEFAULT_TIME = new Date('2016-02-16T00:00:00Z')

export interface CustomiseOptions {
  /** the raw .img file; it is changed in place. At a distance it is a path there. */
  readonly image: string
  /** the key folder */
  readonly folder: string
  readonly config: Config
  readonly emit: Emit
  readonly signal: AbortSignal
  /** of every file that is written, in whole seconds: fixed, so that the same input gives the same files */
  readonly time?: Date
  /** the FreeBSD machine that does it */
  readonly place?: Place
}

/** One file that was found in the image as it should be. */
export interface CheckedFile {
  readonly path: string
  readonly mode: string
  readonly owner: string
  /** in hex; not of what is secret */
  readonly sha256?: string
  readonly linkTo?: string
}

export interface Customised {
  /** such as 10.2-RELEASE-p12 */
  readonly release: string
  readonly hostKeyFingerprint: string
  readonly authorityFingerprint: string
  /** as `2016-02-16T00:00:00Z` */
  readonly time: string
  readonly files: readonly CheckedFile[]
  /** published keys that were in the image, and are not any more */
  readonly replacedKeys: readonly string[]
  readonly warnings: readonly string[]
}

const checkedFile = (file: OverlayFile): CheckedFile => {
  const { path, mode, owner, content } = file
  const sha256 = content instanceof Secret ? undefined : sha256Of(file)
  return {
    path,
    mode: mode.toString(8).padStart(4, '0'),
    owner: `${owner.uid}:${owner.gid}`,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(typeof content === 'object' && 'linkTo' in content ? { linkTo: content.linkTo } : {}),
  }
}

const checkKeys = (keys: BoxKeys): void => {
  for (const line of [keys.authority, keys.hostPublicKey]) {
    const known = publishedKey(line)
    if (known !== undefined)
      throw new KnoxError('config', `the key folder holds ${known}, whose private half is public`, [
        'knox keys init makes keys of your own',
      ])
  }
}

const checkBoard = ({ box }: Config): void => {
  if (box.board !== 'rpi-b')
    throw new KnoxError('config', `there is no image for the board ${box.board}`, [
      'FreeBSD is installed there as usual: knox render writes the files of the box',
    ])
  if (!/s2a$/.test(box.root))
    throw new KnoxError('config', `the root of an image is s2a, and knox.yaml says ${box.root}`, [
      'box.root: mmcsd0s2a, or the like',
    ])
}

/** What an image needs of knox.yaml and the key folder. Throws `config` if they cannot make one; nothing of the image is looked at. */
export const boxFor = async (
  config: Config,
  folder: string,
): Promise<{ readonly keys: BoxKeys; readonly overlay: readonly OverlayFile[] }> => {
  checkBoard(config)
  const keys = await readBoxKeys(folder)
  checkKeys(keys)
  return { keys, overlay: await overlayOf(config.box, keys) }
}

const stepsOf = (plan: CustomisePlan, findings: Findings): readonly Step[] => [
  ...writingSteps(plan, findings),
  ...checkingSteps(plan, findings),
]

const noFindings = (): Findings => ({ release: '', published: [], warnings: [] })

/** of the same shape as real ones; a dry run needs no keys */
const NO_KEYS: BoxKeys = {
  authority: '',
  hostPublicKey: '',
  hostKey: new Secret('host key', ''),
  hostUuid: '00000000-0000-0000-0000-000000000000',
  entropy: new Secret('entropy', ''),
}

/**
 * Every command that customiseImage runs on an image that nothing is left of, in order, as words; nothing is read or run.
 * A real run may have another unit: the first that is free.
 */
export const customiseActions = async (
  config: Config,
  image: string,
  options: { readonly unit?: number; readonly time?: Date } = {},
): Promise<readonly (readonly string[])[]> => {
  checkBoard(config)
  const { unit = 0, time = DEFAULT_TIME } = options
  const overlay = await overlayOf(config.box, NO_KEYS)
  const place = workplaceOf(image)
  const steps = stepsOf({ place, unit, box: config.box, overlay, time }, noFindings())
  const before = [memoryDisks, realPath(image), ...takeDownCommands(place), memoryDisks]
  return [...before, ...commandsOf(steps), ...takeDownCommands(place)].map(({ argv }) => argv)
}

interface Work {
  readonly runner: Runner
  /** for taking down: works after a stop too */
  readonly tidyRunner: Runner
  readonly options: CustomiseOptions
  readonly overlay: readonly OverlayFile[]
  readonly place: Workplace
}

const performSteps = async ({ runner, options, overlay, place }: Work, findings: Findings): Promise<void> => {
  const { emit, signal, config, time = DEFAULT_TIME } = options
  const unit = await freeUnit(runner)
  for (const { title, commands } of stepsOf({ place, unit, box: config.box, overlay, time }, findings)) {
    emit({ type: 'step', title })
    for (const command of commands) {
      checkStopped(signal)
      await perform(runner, command)
    }
    emit({ type: 'done', title })
  }
}

const work = async (all: Work, findings: Findings): Promise<void> => {
  const { place, runner, tidyRunner } = all
  // what a run that was killed has left
  await takeDown(runner, place)
  // registered from the first command on: who stops the run waits for the end of this
  await tidyUp(async () => {
    let failure: { readonly error: unknown } | undefined
    try {
      await performSteps(all, findings)
    } catch (error) {
      failure = { error }
    }
    try {
      await takeDown(tidyRunner, place)
    } catch (leftover) {
      throw failure === undefined ? leftover : withLeftover(failure.error, leftover)
    }
    if (failure !== undefined) throw failure.error
  })
}

const tell = ({ emit }: CustomiseOptions, { published, warnings }: Findings): void => {
  for (const key of published)
    emit({
      type: 'note',
      text: `the image held ${key}, which everybody can have: it was replaced by your own`,
    })
  for (const text of warnings) emit({ type: 'warning', text })
}

/**
 * Customises the image and reads everything back. Throws `config` if the image, the keys or knox.yaml do not fit together,
 * `verification` if a setting did not take, `busy` if somebody else works on it, `platform` where there is no FreeBSD.
 * Nothing stays attached or mounted, and what a killed run has left is taken down first.
 */
export const customiseImage = async (options: CustomiseOptions): Promise<Customised> => {
  const { config, folder, emit, time = DEFAULT_TIME, place: machine = HERE } = options
  const { keys, overlay } = await boxFor(config, folder)
  const runner = runnerAt(machine, emit)
  // first of all: is this FreeBSD?
  await runner.read(memoryDisks)
  const place = workplaceOf(await runner.read(realPath(options.image)))
  const all: Work = { runner, tidyRunner: runnerAt(machine, emit, 120, true), options, overlay, place }
  const findings = noFindings()
  if (machine === HERE) {
    await ensurePrivateDir(place.folder).catch((error: unknown) => {
      throw new KnoxError('refused', `nothing can be written beside the image: ${messageOf(error)}`)
    })
    await withLock(place.folder, () => work(all, findings)).finally(() =>
      rmdir(place.folder).catch(() => undefined),
    )
  } else await work(all, findings)
  tell(options, findings)
  return {
    release: findings.release,
    hostKeyFingerprint: fingerprint(readPublicKeyLine(keys.hostPublicKey, 'the host key')),
    authorityFingerprint: fingerprint(readPublicKeyLine(keys.authority, 'the authority')),
    time: `${time.toISOString().slice(0, 19)}Z`,
    files: overlay.map(checkedFile),
    replacedKeys: findings.published,
    warnings: findings.warnings,
  }
}
