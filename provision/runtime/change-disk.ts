import type { Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { boxScriptSum, canWriteScript, replaceBoxScript, sha256Of } from '../tools/box-script.ts'
import { geliProviders } from '../tools/geli.ts'
import { knock } from './knock.ts'
import type { Box } from './target.ts'

/** Another disk for a box that has one: its script names the disk, and is replaced while it runs. */

/** Throws `refused` if this disk is attached: the new script would never lock it. */
export const mustBeDetached = async (runner: Runner, disk: string): Promise<void> => {
  if ((await runner.read(geliProviders)).includes(`${disk}.eli`))
    throw new KnoxError('refused', `the disk ${disk} is still attached on the box`, [
      'knox backup locks it, or switch the box off and on again',
    ])
}

/**
 * Replaces the box's script by this text. Throws `verification` if the box has another one afterwards, `failed` if it could
 * not be written; the old one is in place then. A root that stays writable is only warned of.
 */
export const replaceScript = async (runner: Runner, text: string, emit: Emit): Promise<void> => {
  const wasWritable = await runner.read(canWriteScript)
  for (const change of replaceBoxScript(text)) await runner.act(change)
  if ((await runner.read(boxScriptSum)) !== sha256Of(text))
    throw new KnoxError('verification', 'the script on the box is not the one that was brought there')
  if (!wasWritable && (await runner.read(canWriteScript)))
    emit({
      type: 'warning',
      text: 'the root of the box is still mounted for writing: mount -ur / there, or switch it off and on again',
    })
}

/**
 * Makes a disk the one that the box unlocks: installs the script that names it, and asks the box in a new session.
 * Throws what replaceScript throws, `unreachable` if the box does not answer then, and `disk` if it has no such disk.
 */
export const changeDisk = async (
  box: Box,
  runner: Runner,
  disk: string,
  script: string,
  emit: Emit,
): Promise<void> => {
  emit({ type: 'step', title: `telling the box that its disk is ${disk}` })
  await replaceScript(runner, script, emit)
  const answer = await knock(box, emit)
  if (answer === undefined)
    throw new KnoxError('unreachable', `the box has a script for ${disk} now, but did not answer afterwards`)
  if (answer.disk !== 'locked')
    throw new KnoxError(
      answer.disk === 'missing' ? 'disk' : 'left-unlocked',
      `the box has a script for ${disk} now, and says that this disk is ${answer.disk}`,
    )
  emit({ type: 'done', title: `the box’s script names ${disk}, and says that it is locked` })
}
