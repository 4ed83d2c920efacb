import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { Secret } from '../provision/core/secret.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import {
  checkDisk,
  changesOf,
  checkSame,
  describeDisk,
  preparations,
  prepareDisk as prepare,
  releaseDisk,
  wordsOf,
} from '../provision/runtime/prepare-disk.ts'
import { boxScriptOf } from '../provision/image/overlay.ts'
import { mustBeDecided } from '../provision/runtime/adopt-undecided.ts'
import { changeDisk, mustBeDetached } from '../provision/runtime/change-disk.ts'
import { chooseDisk } from '../provision/runtime/choose-disk.ts'
import { describeContents, listDisks } from '../provision/runtime/list-disks.ts'
import { measureLink, rememberLink } from '../provision/runtime/measure-link.ts'
import { hasPool, howToLose, keepMetadata, ownMetadata } from '../provision/runtime/prepared-disk.ts'
import { forgetReceipt } from '../provision/runtime/receipt.ts'
import { withShell } from '../provision/runtime/shell.ts'
import { prepareBox, type Box } from '../provision/runtime/target.ts'
import { finishDisk, isUnfinished } from '../provision/runtime/unfinished-disk.ts'
import type { Runner } from '../provision/core/command.ts'
import type { Config } from '../provision/core/config.ts'
import { findConfig } from '../provision/system/config-file.ts'
import { editConfig } from '../provision/system/edit-config.ts'
import { runnerAt } from '../provision/system/runner.ts'
import { withLock } from '../provision/system/lock.ts'
import { boxScriptDisk, replaceBoxScript } from '../provision/tools/box-script.ts'
import { readDisk, type Disk } from '../provision/tools/disk.ts'

/** a sleeping disk wakes in less; one that hangs is told as such */
const LOOK_SECONDS = 60

const NOT_MEASURED = 'its speed is not measured, since it is not blank'

const withoutPool = (disk: Disk, pool: string): KnoxError =>
  new KnoxError('disk', `${describeDisk(disk)} is the box’s own, but its pool ${pool} cannot be imported`, [
    'nothing was changed; the backup may well be on it: docs/rescue.md looks at it on another machine',
    howToLose(disk.name),
  ])

/** Another disk than the box's script or knox.yaml names: the script is told of it, and then knox.yaml. */
const change = async (knox: Knox, box: Box, runner: Runner, config: Config): Promise<void> => {
  const { disk } = config.box
  await forgetReceipt(box.folder)
  await changeDisk(box, runner, disk, await boxScriptOf(config.box), knox.emit)
  const path = await findConfig(knox.configPath)
  if (path === undefined) return
  await editConfig(path, (document) => document.setIn(['box', 'disk'], disk))
  knox.emit({ type: 'note', text: `${path} now names ${disk}` })
}

/** A disk that is the box's own: nothing is written to it, whatever was said; its metadata come home, and the box gets to know it. */
const useAgain = async (
  knox: Knox,
  box: Box,
  runner: Runner,
  config: Config,
  { disk, metadata, old }: { disk: Disk; metadata: Buffer; old: string | undefined },
): Promise<void> => {
  const which = describeDisk(disk)
  if (knox.args.flag('erase'))
    knox.emit({
      type: 'warning',
      text: `${which} is the box’s own and may hold its backup: it is not erased`,
      hint: howToLose(disk.name),
    })
  if (knox.args.flag('speed')) knox.emit({ type: 'note', text: NOT_MEASURED })
  if (knox.dryRun) {
    const changes = old === undefined ? [] : replaceBoxScript(await boxScriptOf(config.box))
    const commands = changes.map(({ argv }) => quoteAll(argv))
    knox.result([`${which} is the box’s own, and stays as it is`, ...commands].join('\n'), { disk, commands })
    return
  }
  if (old !== undefined)
    await knox.confirm(
      `${which} has been prepared before, and stays as it is; shall the box use it from now on?`,
    )
  await keepMetadata(box.folder, disk.name, metadata)
  if (old !== undefined) await change(knox, box, runner, config)
  knox.result(`the box uses ${which} from now on; it was prepared before, stays as it was, and is locked`, {
    disk,
  })
}

/**
 * Exit: 0 prepared and locked, or the box's own already; 4 in use, not empty or not confirmed, 11 adopted and not confirmed yet, 12 wrong
 * passphrase or key, 14 damaged GELI metadata, 20 not locked, 21 no such disk, or no pool on the box's own.
 */
export const prepareDisk = defineCommand({
  name: 'prepare-disk',
  summary:
    'encrypt the box’s disk with GELI and make its pool; all that is on it is lost, unless it is the box’s own',
  options: {
    disk: {
      type: 'string',
      value: 'DISK',
      help: 'of several disks this one, by name or serial number',
    },
    erase: {
      type: 'boolean',
      help: 'the disk may hold data, and all of it may be lost (never the box’s own)',
    },
    speed: { type: 'boolean', help: 'measure how fast the disk is written, before and after encryption' },
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      help: 'passphrase of the login knox-shell, first line',
    },
  },
  run: async (knox) => {
    const known = await knox.config()
    const box = await prepareBox(known)
    const passphrase = await knox.passphrase('passphrase of the keys')
    return withLock(box.folder, () =>
      withShell(box, passphrase, knox.emit, async (runner, place) => {
        await mustBeDecided(runner)
        const disks = await listDisks(runnerAt(place, knox.emit, LOOK_SECONDS))
        const found = await runner.read(readDisk(await chooseDisk(knox, known.box.disk, disks)))
        const config = { ...known, box: { ...known.box, disk: found.name } }
        const named = [await runner.read(boxScriptDisk), known.box.disk]
        const old = named.find((name) => name !== undefined && name !== found.name)
        if (old !== undefined) await mustBeDetached(runner, old)
        const isBegun = await isUnfinished(runner, box.folder, found)
        if (isBegun && found.inUse && !knox.dryRun) await releaseDisk(config, runner)
        const disk = isBegun ? await runner.read(readDisk(found.name)) : found
        const metadata = await ownMetadata(runner, box.folder, disk)
        if (metadata !== undefined) {
          knox.emit({ type: 'note', text: `${disk.name} is the box’s own: is its pool on it?` })
          // one that was cut off may be finished but for its metadata at home, or hold a backup by now
          const isReady = knox.dryRun ? !isBegun : await hasPool(runner, box.folder, disk, config.box.pool)
          if (isReady) {
            if (isBegun) await finishDisk(box.folder)
            await useAgain(knox, box, runner, config, { disk, metadata, old })
            return undefined
          }
          if (!isBegun) throw withoutPool(disk, config.box.pool)
        }
        if (isBegun)
          knox.emit({
            type: 'note',
            text: `${disk.name} is the disk whose preparation was cut off: it begins anew${metadata !== undefined && knox.dryRun ? ', unless its pool is there' : ''}`,
          })
        const mayErase = knox.args.flag('erase') || isBegun
        // --yes alone says nothing of what is on it
        const asksToErase =
          !mayErase && disk.contents !== 'blank' && knox.interactive && !knox.args.flag('yes') && !knox.dryRun
        checkDisk(disk, mayErase || asksToErase)
        const erased = disk.contents === 'blank' ? undefined : disk
        const speed = knox.args.flag('speed') && (disk.contents === 'blank' || isBegun)
        if (knox.args.flag('speed') && !speed) knox.emit({ type: 'note', text: NOT_MEASURED })
        if (knox.dryRun) {
          const commands = [
            ...changesOf(preparations(config, new Secret('disk key', ''), speed, erased)),
            ...(old === undefined ? [] : replaceBoxScript(await boxScriptOf(config.box))),
          ].map(({ argv }) => quoteAll(argv))
          knox.result(commands.join('\n'), { disk, commands })
          return undefined
        }
        const words = wordsOf(disk, asksToErase)
        if (asksToErase)
          knox.emit({
            type: 'warning',
            text: `${describeDisk(disk)} is not blank: ${describeContents(disk)}`,
          })
        await knox.confirmTyped(
          `everything on ${describeDisk(disk)} will be lost${old === undefined ? '' : `, and the box will use it instead of ${old}`}; type ${words.join(' or ')} to go on:`,
          words,
        )
        // time has passed, and names of disks move when one is plugged in or out
        checkSame(disk, await runner.read(readDisk(disk.name)))
        const diskRate = await prepare(config, box.folder, runner, knox.emit, disk, speed)
        const rate = await measureLink(place)
        if (rate !== undefined) {
          await rememberLink(box.folder, Math.min(rate, diskRate ?? rate))
          knox.emit({ type: 'note', text: `the box takes ${formatBytes(rate)}/s through ssh` })
        }
        if (old !== undefined) await change(knox, box, runner, config)
        knox.result(`${describeDisk(disk)} is encrypted, holds the pool ${config.box.pool}, and is locked`, {
          disk,
        })
        return undefined
      }),
    )
  },
})
