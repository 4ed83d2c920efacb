import { createHash } from 'node:crypto'
import { readFile, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { defineCommand, type Knox } from '../provision/cli/command.ts'
import type { Config } from '../provision/core/config.ts'
import { imageName } from '../provision/core/image-name.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { Secret } from '../provision/core/secret.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import {
  buildActions,
  buildImage,
  openWorkspace,
  prepareBuild,
  type Stage,
} from '../provision/image/build/build.ts'
import {
  bringHome,
  builderPlace,
  copyThere,
  dropThere,
  hashThere,
  holdArgv,
  packThere,
  receiveArgv,
  sendArgv,
  withCopy,
  withWorkFolder,
} from '../provision/image/build/builder.ts'
import { imageBytes } from '../provision/image/build/changes.ts'
import { customiseThere } from '../provision/image/build/ready.ts'
import { workspaceOf } from '../provision/image/build/workspace.ts'
import { checkRoom } from '../provision/image/copy-image.ts'
import { boxFor, customiseActions, customiseImage } from '../provision/image/customise.ts'
import { checkReady, fromImage, fromImageActions } from '../provision/image/from-image.ts'
import { makingIn, withMaking, type Making } from '../provision/image/making.ts'
import type { OverlayFile } from '../provision/image/overlay.ts'
import {
  checkFree,
  publishActions,
  publishImage,
  type Published,
  type PublishFacts,
} from '../provision/image/publish.ts'
import { findPublished, isWhole } from '../provision/image/published.ts'
import { findConfig, homeFolder, parseConfig } from '../provision/system/config-file.ts'
import { realFolder } from '../provision/system/files.ts'
import { HERE, runnerAt, type Place } from '../provision/system/runner.ts'
import { memoryDisks } from '../provision/tools/mdconfig.ts'
import { xzUnpack, xzUnpackedBytes } from '../provision/tools/xz.ts'

/** in the package's own folder */
const EXAMPLE = new URL('../knox.example.yaml', import.meta.url)

const DEFAULT_WORK = '/var/db/knox-build'
const INPUT = 'everything it was made of'

const today = (): string => new Date().toISOString().slice(0, 10)

/**
 * One hash over the raw image's stamp and every file of the box. Without what is secret: the public key stands for it, and
 * the hash goes into the manifest.
 */
const contentStamp = (overlay: readonly OverlayFile[], built: string): string => {
  const hash = createHash('sha256').update(built)
  for (const { path, mode, content } of overlay) {
    hash.update(`\0${path}\0${mode}\0`)
    if (!(content instanceof Secret))
      hash.update(typeof content === 'string' ? content : JSON.stringify(content))
  }
  return hash.digest('hex')
}

const told = (knox: Knox, { image, packed, manifest }: Published): undefined => {
  const lines = [
    `${image.path} (${formatBytes(image.bytes)}) is the image of your box; keep it private, it holds the host key`,
    ...(packed === undefined ? [] : [`packed: ${packed.path} (${formatBytes(packed.bytes)})`]),
    `what is in it: ${manifest}`,
    `next: npx knox flash ${image.path} DEVICE`,
  ]
  knox.result(lines.join('\n'), { image, packed, manifest })
}

/** beside knox.yaml */
const lockFileOf = async (knox: Knox): Promise<string> =>
  join(dirname((await findConfig(knox.configPath)) ?? resolve('knox.yaml')), 'knox.lock.json')

interface Paths {
  readonly work: string
  readonly out: string
}

const publish = async (
  knox: Knox,
  { out }: Paths,
  image: string,
  { facts, replace = false, sha256 }: ToPublish,
): Promise<Published> => {
  const config = await knox.config()
  return publishImage({
    ...{ image, config, folder: homeFolder(config), out, compress: knox.args.flag('compress') },
    ...{
      facts: { ...facts, date: today() },
      replace: replace || knox.args.flag('force'),
      emit: knox.emit,
      signal: knox.signal,
      ...(sha256 === undefined ? {} : { sha256 }),
    },
  })
}

interface ToPublish {
  readonly facts: Omit<PublishFacts, 'date'>
  readonly replace?: boolean
  readonly sha256?: string
}

/** Publishes the customised image of the build host. */
const publishFrom = async (
  knox: Knox,
  { place, paths, making }: { readonly place: Place; readonly paths: Paths; readonly making: Making },
  image: string,
  what: ToPublish,
): Promise<void> => {
  const runner = runnerAt(place, knox.emit, 3600)
  if (place === HERE) told(knox, await publish(knox, paths, image, what))
  else {
    const { packed } = making
    try {
      const sha256 = await runner.read(hashThere(image))
      await bringHome(place, image, packed, knox.emit)
      told(knox, await publish(knox, paths, packed, { ...what, sha256 }))
    } finally {
      await rm(packed, { force: true })
    }
  }
}

/** The same customising on a ready image. */
const fromReady = async (knox: Knox, paths: Paths, from: string): Promise<undefined> => {
  const config = await knox.config()
  const place = builderPlace(config.image.builder)
  const sha256 = knox.args.text('sha256')
  const { emit, signal } = knox
  const options = {
    ...{ from: resolve(from), work: makingIn(paths.out).image, folder: homeFolder(config) },
    ...{ config, emit, signal, ...(sha256 === undefined ? {} : { sha256 }) },
  }
  const ready = await checkReady(options, runnerAt(place, emit))
  const copy = place === HERE ? options.work : workspaceOf(paths.work).image
  const work = () =>
    withMaking(paths.out, options, (making) =>
      withCopy(place, copy, emit, async () => {
        const { customised, input } =
          place === HERE
            ? await fromImage(options, ready)
            : await customiseThere({ ...options, place, image: copy }, ready)
        const facts = { revisions: {}, inputs: [input], customised }
        await publishFrom(knox, { place, paths, making }, copy, { facts })
      }),
    )
  await (place === HERE ? work() : withWorkFolder(place, paths.work, emit, work))
  return undefined
}

/** The device of the file system that a path is on, or will be. */
const deviceOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ dev }) => dev,
    () => deviceOf(dirname(path)),
  )

const fromSources = async (knox: Knox, paths: Paths): Promise<undefined> => {
  const config = await knox.config()
  const folder = homeFolder(config)
  const { emit, signal, confirm } = knox
  const [compress, force] = [knox.args.flag('compress'), knox.args.flag('force')]
  const place = builderPlace(config.image.builder)
  // the image once more, and its .xz
  const outBytes = imageBytes(config.image.size) * (compress ? 2 : 1)
  const isBeside = place === HERE && (await deviceOf(paths.work)) === (await deviceOf(paths.out))
  const options = {
    ...{ config, folder: paths.work, place, emit, signal, confirm },
    ...{ lockFile: await lockFileOf(knox), beside: isBeside ? outBytes : 0 },
  }
  const space = await openWorkspace(options)
  // all that can be known before: hours of building would be lost
  const { overlay } = await boxFor(config, folder)
  const path = join(paths.out, imageName(config, today()))
  const build = () =>
    withMaking(paths.out, options, async (making) => {
      const built = await prepareBuild(space, options)
      const content = contentStamp(overlay, built.stamp)
      const same = await findPublished(paths.out, content)
      if (same !== undefined && !force && (await isWhole(paths.out, same, { packed: compress, signal }))) {
        knox.result(`${same.path} was made of just this already; nothing was done`, {
          image: { path: same.path },
        })
        return
      }
      const replace = force || same?.path === path
      if (!replace) await checkFree(path, compress)
      await checkRoom(path, outBytes)
      await buildImage(space, built, options)
      await withCopy(place, space.image, emit, async () => {
        await runnerAt(place, emit, 3600).act(copyThere(space.raw, space.image))
        const customised = await customiseImage({ image: space.image, folder, config, emit, signal, place })
        const { revisions, inputs } = built
        const facts = { revisions, inputs: [...inputs, { name: INPUT, sha256: content }], customised }
        await publishFrom(knox, { place, paths, making }, space.image, { facts, replace })
      })
    })
  await withWorkFolder(place, space.folder, emit, build)
  return undefined
}

/** The knox.yaml, or where there is none yet the example: a plan needs no more. */
const configForPlan = async (knox: Knox): Promise<Config> => {
  if (knox.configPath !== undefined || (await findConfig(undefined)) !== undefined) return knox.config()
  knox.emit({ type: 'note', text: 'there is no knox.yaml yet: this is the plan for knox.example.yaml' })
  return parseConfig(await readFile(EXAMPLE, 'utf8'), 'knox.example.yaml')
}

/** How a ready image gets to the build host. */
const sendActions = (from: string, to: string): readonly Stage[] => {
  const isPacked = from.endsWith('.xz')
  const unpack = isPacked ? [xzUnpack(from)] : []
  return [
    { stage: 'look at it, here', commands: isPacked ? [xzUnpackedBytes(from).argv, ...unpack] : [] },
    { stage: 'send it', commands: [memoryDisks.argv, receiveArgv(to)] },
    { stage: 'send it, here', commands: [sendArgv(from, isPacked)] },
    { stage: 'compare it', commands: [hashThere(to).argv] },
    { stage: 'compare it, here', commands: unpack },
  ]
}

const planOf = async (
  knox: Knox,
  config: Config,
  { paths, from }: { readonly paths: Paths; readonly from: string | undefined },
): Promise<readonly Stage[]> => {
  const compress = knox.args.flag('compress')
  const place = builderPlace(config.image.builder)
  const work = place === HERE ? await realFolder(workspaceOf(paths.work).folder) : paths.work
  const space = workspaceOf(work)
  const making = makingIn(paths.out)
  const path = join(paths.out, imageName(config, today()))
  const publishing = (image: string): readonly Stage[] => {
    const last = dropThere(image).argv
    if (place === HERE)
      return [{ stage: 'publish', commands: [...publishActions({ image, compress }, path), last] }]
    return [
      { stage: 'bring it home', commands: [hashThere(image).argv, packThere(image)] },
      { stage: 'publish, here', commands: publishActions({ image: making.packed, compress }, path) },
      { stage: 'tidy up', commands: [last] },
    ]
  }
  if (from === undefined)
    return [
      ...(await buildActions(config, work, await lockFileOf(knox))),
      {
        stage: 'customise',
        commands: [copyThere(space.raw, space.image).argv, ...(await customiseActions(config, space.image))],
      },
      ...publishing(space.image),
    ]
  const ready = resolve(from)
  if (place === HERE) {
    const { image } = making
    return [
      { stage: 'customise', commands: await fromImageActions({ from: ready, work: image, config }) },
      ...publishing(image),
    ]
  }
  return [
    ...sendActions(ready, space.image),
    { stage: 'customise', commands: await customiseActions(config, space.image) },
    ...publishing(space.image),
  ]
}

const dryRun = async (knox: Knox, paths: Paths, from: string | undefined): Promise<undefined> => {
  const config = await configForPlan(knox)
  const hold = { stage: 'hold the work folder, all the while', commands: [holdArgv(paths.work)] }
  const isFar = config.image.builder !== undefined
  const stages = [...(isFar ? [hold] : []), ...(await planOf(knox, config, { paths, from }))]
  const image = join(paths.out, imageName(config, today()))
  const lines = [
    ...(config.image.builder === undefined
      ? []
      : [`# on ${config.image.builder}, by ssh, but for what is here`]),
    ...stages.flatMap(({ stage, commands }) => [`# ${stage}`, ...commands.map(quoteAll)]),
    `# then ${image} with its manifest and checksums`,
  ]
  const commands = stages.flatMap((stage) => stage.commands.map(quoteAll))
  knox.result(lines.join('\n'), { commands, image })
  return undefined
}

/**
 * Exit: 0 made, or made of the same already; 1 crochet failed, 3 no keys or sources that are not what they should be, 4 not
 * confirmed, 10 sources or builder not reached, 11 an earlier build runs, 14 something is not as it should be, 15 not on
 * FreeBSD or something is missing, 18 no room.
 */
export const buildImageVerb = defineCommand({
  name: 'build-image',
  summary:
    'build the SD image of the box: FreeBSD with ZFS, your keys and settings in it, read back and checked',
  details: [
    'On FreeBSD, as root, some hours the first time; elsewhere image.builder in knox.yaml names a FreeBSD machine.',
    'Stopped or failed, it goes on at the stage where it was. --dry-run prints every command, on any system.',
  ].join('\n'),
  options: {
    from: {
      type: 'string',
      value: 'IMAGE',
      help: 'customise this ready .img or .img.xz instead of building one',
    },
    sha256: {
      type: 'string',
      value: 'HEX',
      help: 'what its SHA-256 must be (default: a checksum file beside it)',
    },
    work: { type: 'string', value: 'DIR', help: `where it is built (default: ${DEFAULT_WORK})` },
    out: { type: 'string', value: 'DIR', help: 'where the image goes (default: here)' },
    compress: { type: 'boolean', help: 'make an .img.xz too' },
    force: { type: 'boolean', help: 'replace an image of that name' },
  },
  run: async (knox) => {
    const from = knox.args.text('from')
    const paths = { work: knox.args.text('work') ?? DEFAULT_WORK, out: resolve(knox.args.text('out') ?? '.') }
    if (knox.dryRun) return dryRun(knox, paths, from)
    knox.whenStopped(['what is done stays done: run it again, it goes on from there'])
    return from === undefined ? fromSources(knox, paths) : fromReady(knox, paths, from)
  },
})
