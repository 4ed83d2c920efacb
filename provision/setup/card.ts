import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { newestImage } from '../core/image-name.ts'
import { KEY_FILES } from '../core/keys.ts'
import { parseLogin } from '../core/names.ts'
import { findConfig, homeFolder } from '../system/config-file.ts'
import { editConfig } from '../system/edit-config.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { problemOfFile, typedPath } from './files.ts'
import { configNow, type World } from './step.ts'

/** A card with the box's system, where one has to be made first. */

const problemOfBuilder = (text: string): string | undefined =>
  text === '' || parseLogin(text) !== undefined
    ? undefined
    : 'is not a machine: expected user@host or user@host:port'

/** Only FreeBSD builds the image: elsewhere knox.yaml gets the name of a machine that has it, if there is one. */
const knowBuilder = async (world: World): Promise<void> => {
  const { image } = await configNow(world)
  const path = await findConfig(world.configPath)
  if (process.platform === 'freebsd' || image.builder !== undefined || path === undefined) return
  const builder = await world.owner.ask({
    question:
      'only FreeBSD builds it: a machine that has it, reached by your ssh as root? (such as root@host)',
    flag: 'builder',
    initial: '',
    problem: problemOfBuilder,
  })
  if (builder !== '') await editConfig(path, (document) => document.setIn(['image', 'builder'], builder))
}

/** The path of an image: the one that is named, else it is built; build-image takes seconds if nothing has changed since it was. */
const imageForCard = async (world: World): Promise<string> => {
  const image = await world.owner.ask({
    question: 'an image for it? (Enter: build it)',
    flag: 'image',
    initial: '',
    problem: (text) => (text === '' ? undefined : problemOfFile(text)),
  })
  if (image !== '') return image
  await knowBuilder(world)
  await world.owner.run(['build-image'])
  const built = newestImage(await readdir('.'), await configNow(world))
  if (built !== undefined) return built
  throw new KnoxError('failed', 'build-image left no image in this folder')
}

const flash = async (world: World): Promise<void> => {
  const image = await imageForCard(world)
  await world.owner.run(['flash'])
  const device = await world.owner.ask({
    question: 'which of these drives is the card? (its path, as shown)',
    flag: 'card',
    problem: (text) => (text.startsWith('/') ? undefined : 'needs a path such as /dev/sdb'),
  })
  await world.owner.run(['flash', typedPath(image), device])
}

/**
 * Makes the card, and waits for the box. A card that was made is not made again by --yes: it is in the box by then, and the
 * device may be another drive. It is remembered in the key folder, for it holds these keys.
 */
export const makeCard = async (world: World): Promise<void> => {
  const marker = join(homeFolder(await configNow(world)), KEY_FILES.card)
  const made = await readTextIfAny(marker)
  if (made !== undefined && world.owner.args.flag('yes'))
    world.emit({
      type: 'note',
      text: `${made.trim()}: it is not made again; knox flash IMAGE DEVICE makes another`,
    })
  else {
    await flash(world)
    await writeFileAtomic(marker, `the card was made on ${new Date().toISOString()}\n`, { replace: true })
  }
  await world.owner.run(['discover', '--wait', '--write'])
}
