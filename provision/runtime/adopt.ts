import { readFile } from 'node:fs/promises'
import type { Change, Runner } from '../core/command.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { Secret } from '../core/secret.ts'
import { quoteAll } from '../core/quote.ts'
import type { PlannedFile } from './adopt-plan.ts'
import { KEEP } from './adopt-undecided.ts'

/**
 * The change itself, on a machine that is reached the old way: keep, check, set the switch that takes all back, put, restart
 * sshd, log in the new way, confirm. docs/adopt.md says what holds after each step.
 */

const SCRIPT = new URL('./adopt-box.sh', import.meta.url)

/** The folder of a run that began then. */
export const keepFolder = (now: Date): string =>
  `${KEEP}/${now.toISOString().replace(/[-:]/g, '').replace(/\..*$/, 'Z')}`

const change = (argv: readonly string[], stdin?: string | Secret): Change => ({
  effect: 'change',
  argv,
  ...(stdin === undefined ? {} : { stdin }),
})

/** A file of the keep folder, from stdin; the words are read by csh, too. */
const upload = (path: string, content: string | Secret): Change =>
  change(['/bin/sh', '-c', 'umask 077 && cat > "$1"', 'sh', path], content)

/** One step of adopt-box.sh. */
export const boxStep = (folder: string, verb: string, seconds?: number): Change =>
  change([
    ...['/bin/sh', `${folder}/adopt-box.sh`, folder, verb],
    ...(seconds === undefined ? [] : [seconds.toString()]),
  ])

const listOf = (files: readonly PlannedFile[]): string =>
  files
    .map(({ path, mode, content }, index) => {
      const isLink = typeof content === 'object' && 'linkTo' in content
      return `${index} ${isLink ? 'link' : mode.toString(8).padStart(4, '0')} ${path}\n`
    })
    .join('')

const contentOf = ({ content }: PlannedFile): string | Secret =>
  typeof content === 'object' && 'linkTo' in content ? content.linkTo : content

/** The commands that bring everything into the keep folder; none of them touches a file of the system. */
export const uploads = async (folder: string, files: readonly PlannedFile[]): Promise<readonly Change[]> => [
  change(['/bin/sh', '-c', 'umask 077 && mkdir -p "$1" && mkdir "$2" && mkdir "$2/new"', 'sh', KEEP, folder]),
  upload(`${folder}/adopt-box.sh`, await readFile(SCRIPT, 'utf8')),
  upload(`${folder}/list`, listOf(files)),
  ...files.map((file, index) => upload(`${folder}/new/${index}`, contentOf(file))),
]

export interface AdoptOptions {
  readonly folder: string
  /** seconds after which the machine takes back by itself what nobody has confirmed */
  readonly undoAfter: number
  /** Logs in the new way; throws what is wrong with it. */
  readonly proof: () => Promise<void>
}

const undone = (cause: unknown) =>
  new KnoxError('verification', `the new way in does not work, and all is as it was: ${messageOf(cause)}`, [
    ...(cause instanceof KnoxError ? cause.hints : []),
  ])

const notUndone = (cause: unknown, why: unknown, { folder, undoAfter }: AdoptOptions) =>
  new KnoxError('failed', `adopting has failed: ${messageOf(cause)}`, [
    `knox could not take it back (${messageOf(why)}); the machine does that by itself within ${undoAfter} seconds`,
    `by hand, at its console: ${quoteAll(boxStep(folder, 'undo').argv)}`,
  ])

/**
 * Installs the files. `old` is the connection that was there before, and is held until the new way is proved; whatever fails from
 * the switch on is taken back over it, and by the machine itself if home is gone. Throws `verification` if all is as it was.
 */
export const adoptMachine = async (
  old: Runner,
  files: readonly PlannedFile[],
  options: AdoptOptions,
  emit: Emit,
): Promise<void> => {
  const { folder, undoAfter, proof } = options
  const step = async (title: string, work: () => Promise<void>) => {
    emit({ type: 'step', title })
    await work()
  }
  await step('bringing the new files, beside the old ones', async () => {
    for (const command of await uploads(folder, files)) await old.act(command)
  })
  await step(`keeping the old files in ${folder}`, () => old.act(boxStep(folder, 'save')))
  await step('checking what sshd and the next start will read', () => old.act(boxStep(folder, 'check')))
  await step(`from now on the machine takes all back in ${undoAfter} seconds, if nobody confirms`, () =>
    old.act(boxStep(folder, 'arm', undoAfter)),
  )
  try {
    await step('putting the new files in place', () => old.act(boxStep(folder, 'put')))
    await step('restarting sshd', () => old.act(boxStep(folder, 'reload')))
    await step('logging in by certificate, on connections of their own', proof)
    await step('confirming', () => old.act(boxStep(folder, 'confirm')))
  } catch (cause) {
    emit({ type: 'warning', text: `this did not work: ${messageOf(cause)}` })
    emit({ type: 'step', title: 'taking all back' })
    try {
      await old.act(boxStep(folder, 'undo'))
    } catch (why) {
      throw notUndone(cause, why, options)
    }
    throw undone(cause)
  }
  emit({ type: 'done', title: `the machine is the box now; its old files are in ${folder}` })
}
