import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { imageName } from '../provision/core/image-name.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { Secret } from '../provision/core/secret.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import { readBoxKeys } from '../provision/image/box-keys.ts'
import { buildActions, buildImage } from '../provision/image/build/build.ts'
import { bringHome, builderPlace, copyThere, hashThere } from '../provision/image/build/builder.ts'
import { workspaceOf } from '../provision/image/build/workspace.ts'
import { customiseActions, customiseImage } from '../provision/image/customise.ts'
import { fromImage, fromImageActions } from '../provision/image/from-image.ts'
import { overlayOf } from '../provision/image/overlay.ts'
import {
  publishActions,
  publishImage,
  type Published,
  type PublishFacts,
} from '../provision/image/publish.ts'
import { findConfig, homeFolder } from '../provision/system/config-file.ts'
import { exists } from '../provision/system/files.ts'
import { HERE, runnerAt } from '../provision/system/runner.ts'

const DEFAULT_WORK = '/var/tmp/knox-build'
const INPUT = 'everything it was made of'

const today = (): string => new Date().toISOString().slice(0, 10)

/** One hash over the raw image's stamp and every file of the box. */
const contentStamp = async (knox: Knox, built: string): Promise<string> => {
  const config = await knox.config()
  const overlay = await overlayOf(config.box, await readBoxKeys(homeFolder(config)))
  const hash = createHash('sha256').update(built)
  for (const { path, mode, content } of overlay) {
    hash.update(`\0${path}\0${mode}\0`)
    if (content instanceof Secret) hash.update(content.reveal())
    else hash.update(typeof content === 'string' ? content : JSON.stringify(content))
  }
  return hash.digest('hex')
}

/** The image in the folder whose manifest says that it was made of the same; a killed run can have left a manifest alone. */
const findSame = async (out: string, stamp: string): Promise<string | undefined> => {
  for (const name of (await readdir(out).catch(() => [])).sort())
    if (/^knox-.*\.json$/.test(name) && (await readFile(join(out, name), 'utf8')).includes(`"${stamp}"`))
      return join(out, name.replace(/\.json$/, '.img'))
  return undefined
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
  facts: Omit<PublishFacts, 'date'>,
  isRest = false,
): Promise<Published> => {
  const config = await knox.config()
  await mkdir(out, { recursive: true })
  return publishImage({
    ...{ image, config, folder: homeFolder(config), out, compress: knox.args.flag('compress') },
    ...{
      facts: { ...facts, date: today() },
      replace: isRest || knox.args.flag('force'),
      emit: knox.emit,
      signal: knox.signal,
    },
  })
}

/** The same customising on a ready image. */
const fromReady = async (knox: Knox, paths: Paths, from: string): Promise<undefined> => {
  const config = await knox.config()
  const sha256 = knox.args.text('sha256')
  await mkdir(paths.out, { recursive: true })
  const work = join(paths.out, '.knox-work.img')
  try {
    const { customised, input } = await fromImage({
      ...{ from: resolve(from), work, folder: homeFolder(config), config },
      ...{ emit: knox.emit, signal: knox.signal, ...(sha256 === undefined ? {} : { sha256 }) },
    })
    told(knox, await publish(knox, paths, work, { revisions: {}, inputs: [input], customised }))
    return
  } finally {
    await rm(work, { force: true })
  }
}

const fromSources = async (knox: Knox, paths: Paths): Promise<undefined> => {
  const config = await knox.config()
  const folder = homeFolder(config)
  await readBoxKeys(folder) // hours of building would be lost without them
  const { emit, signal } = knox
  const place = builderPlace(config.image.builder)
  const lockFile = await lockFileOf(knox)
  const { space, revisions, stamp } = await buildImage({
    config,
    folder: paths.work,
    lockFile,
    place,
    emit,
    confirm: knox.confirm,
  })
  const content = await contentStamp(knox, stamp)
  const same = await findSame(paths.out, content)
  const wanted = knox.args.flag('compress') ? [same, `${same ?? ''}.xz`] : [same]
  const isWhole = (
    await Promise.all(wanted.map(async (path) => path !== undefined && (await exists(path))))
  ).every(Boolean)
  if (isWhole && !knox.args.flag('force')) {
    knox.result(`${same ?? ''} was made of just this already; nothing was done`, { image: { path: same } })
    return undefined
  }
  const runner = runnerAt(place, emit, 3600)
  await runner.act(copyThere(space.raw, space.image))
  const customised = await customiseImage({ image: space.image, folder, config, emit, signal, place })
  const facts = { revisions, inputs: [{ name: INPUT, sha256: content }], customised }
  if (place === HERE) {
    told(knox, await publish(knox, paths, space.image, facts, same !== undefined))
    return
  }
  const packed = join(paths.out, '.knox-work.img.xz')
  await mkdir(paths.out, { recursive: true })
  try {
    const there = await runner.read(hashThere(space.image))
    await bringHome(place, space.image, packed, emit)
    const published = await publish(knox, paths, packed, facts, same !== undefined)
    if (published.image.sha256 !== there) {
      for (const path of [
        published.image.path,
        published.manifest,
        ...(published.packed === undefined ? [] : [published.packed.path]),
      ])
        for (const file of [path, `${path}.sha256`]) await rm(file, { force: true })
      throw new KnoxError(
        'verification',
        'the image that came from the build host is another than it has there',
        ['it was removed; run it again'],
      )
    }
    told(knox, published)
    return
  } finally {
    await rm(packed, { force: true })
  }
}

const dryRun = async (knox: Knox, paths: Paths, from: string | undefined): Promise<undefined> => {
  const config = await knox.config()
  const space = workspaceOf(paths.work)
  const image = from === undefined ? space.image : join(paths.out, '.knox-work.img')
  const commands = [
    ...(from === undefined
      ? [
          ...(await buildActions(config, paths.work, await lockFileOf(knox))),
          copyThere(space.raw, space.image).argv,
          ...(await customiseActions(config, image)),
        ]
      : await fromImageActions({ from: resolve(from), work: image, config })),
    ...publishActions({ image, compress: knox.args.flag('compress') }),
  ].map(quoteAll)
  const name = join(paths.out, imageName(config, today()))
  knox.result([...commands, `# then ${name} with its manifest and checksums`].join('\n'), {
    commands,
    image: name,
  })
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
