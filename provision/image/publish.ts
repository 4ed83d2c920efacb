import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { imageName } from '../core/image-name.ts'
import { fingerprint, readPublicKeyLine } from '../keys/public-key.ts'
import { exists } from '../system/files.ts'
import { openSource } from '../system/process.ts'
import { failureOf, HERE, runnerAt } from '../system/runner.ts'
import { xzPack, xzUnpack, xzUnpackedBytes } from '../tools/xz.ts'
import { readBoxKeys } from './box-keys.ts'
import { checkRoom, copyInto, makeFile, unfinished } from './copy-image.ts'
import type { Customised } from './customise.ts'
import { checkStopped } from './drive-io.ts'
import { openImage } from './source.ts'

/** The finished image under its name, with what is needed to trust it: manifest and checksums. */

/** What the manifest says beside what can be seen in the image. */
export interface PublishFacts {
  /** YYYY-MM-DD, part of the name */
  readonly date: string
  /** of the sources, by name: freebsd, crochet */
  readonly revisions: Readonly<Record<string, string>>
  /** files that went into it: name, and SHA-256 in hex */
  readonly inputs: readonly { readonly name: string; readonly sha256: string }[]
  readonly customised: Customised
}

export interface PublishOptions {
  /** the customised image, plain or .xz; it stays where it is */
  readonly image: string
  readonly config: Config
  /** the key folder it was customised from */
  readonly folder: string
  /** the folder that gets the files */
  readonly out: string
  /** make an .xz beside the image */
  readonly compress: boolean
  readonly facts: PublishFacts
  /** what the SHA-256 of the image must be, in hex, if it came from afar */
  readonly sha256?: string
  /** replace files of that name */
  readonly replace?: boolean
  readonly emit?: Emit
  readonly signal?: AbortSignal
}

interface PublishedFile {
  readonly path: string
  readonly bytes: number
  /** in hex */
  readonly sha256: string
}

export interface Published {
  readonly image: PublishedFile
  readonly packed: PublishedFile | undefined
  readonly manifest: string
}

const checkKeys = async ({ folder, facts }: PublishOptions): Promise<void> => {
  const { hostPublicKey } = await readBoxKeys(folder)
  if (fingerprint(readPublicKeyLine(hostPublicKey, 'the host key')) !== facts.customised.hostKeyFingerprint)
    throw new KnoxError('config', 'the image was made with another host key than the one in the key folder', [
      'build it again: home would not take it for the box',
    ])
}

/** The names of what is published for an image of this path; of these all are made or none. */
const namesOf = (path: string, compress: boolean): readonly string[] => [
  path,
  `${path}.sha256`,
  path.replace(/\.img$/, '.json'),
  ...(compress ? [`${path}.xz`, `${path}.xz.sha256`] : []),
]

/** Throws `refused` if one of the files is there that an image of this path would be published with. */
export const checkFree = async (path: string, compress: boolean): Promise<void> => {
  for (const name of namesOf(path, compress))
    if (await exists(name))
      throw new KnoxError('refused', `${name} exists already`, ['nothing was changed; --force replaces it'])
}

/** Packs the image by xz(1); the bytes come back through a pipe, so that they are hashed on their way to the file. */
const pack = async (image: string, path: string, signal: AbortSignal) =>
  makeFile(path, async (file) => {
    const hash = createHash('sha256')
    const source = openSource(xzPack(image))
    let bytes = 0
    try {
      for await (const piece of source.output) {
        checkStopped(signal)
        hash.update(piece)
        for (let at = 0; at < piece.length;)
          at += (await file.write(piece, at, piece.length - at, bytes + at)).bytesWritten
        bytes += piece.length
      }
      const result = await source.ended
      if (result.exitCode !== 0) throw failureOf(result, [])
      return { path, bytes, sha256: hash.digest('hex') }
    } finally {
      source.kill()
    }
  })

const text = (path: string, content: string) => makeFile(path, (file) => file.writeFile(content))

const nameless = ({ path, ...facts }: PublishedFile) => ({ name: basename(path), ...facts })

/** Nothing of the time it was made at is in it: the same input gives the same manifest. */
const manifestOf = (
  { config, facts }: PublishOptions,
  image: PublishedFile,
  packed: PublishedFile | undefined,
): string => {
  const { customised, date, revisions, inputs } = facts
  const { files, ...what } = customised
  const manifest = {
    format: 'knox-image-1',
    image: nameless(image),
    ...(packed === undefined ? {} : { packed: nameless(packed) }),
    box: config.box.name,
    date,
    ...what,
    revisions,
    inputs,
    settings: { box: config.box, image: config.image },
    files,
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

const sumLine = ({ path, sha256 }: PublishedFile): string => `${sha256}  ${basename(path)}\n`

/** Every command that publishImage runs for an image that gets the path, as words; copying needs none. */
export const publishActions = (
  { image, compress }: Pick<PublishOptions, 'image' | 'compress'>,
  path: string,
): readonly (readonly string[])[] => [
  // its size, its first sector, all of it
  ...(image.endsWith('.xz') ? [xzUnpackedBytes(image).argv, xzUnpack(image), xzUnpack(image)] : []),
  ...(compress ? [xzPack(unfinished(path))] : []),
]

/**
 * Copies the image to `out` as knox-<box>-<release>-<date>.img, with .sha256, .json and, if wanted, .xz; all of mode 0600,
 * for the image holds the host key. The image gets its name last: where it stands, all that belongs to it stands too.
 * Throws `refused` if one of them is there, `no-space`, `config` if keys and image do not belong together,
 * `verification` if it is not the image that was meant.
 */
export const publishImage = async (options: PublishOptions): Promise<Published> => {
  const { image, config, out, compress, facts, replace = false } = options
  const { emit = () => undefined, signal = new AbortController().signal } = options
  const path = join(out, imageName(config, facts.date))
  const [packedPath, manifestPath] = [`${path}.xz`, path.replace(/\.img$/, '.json')]
  await checkKeys(options)
  if (!replace) await checkFree(path, compress)
  const source = await openImage(image, runnerAt(HERE, emit))
  await checkRoom(path, source.bytes)

  const made: Awaited<ReturnType<typeof makeFile>>[] = []
  try {
    const title = `making ${path}`
    emit({ type: 'step', title })
    const copy = await makeFile(path, (file) => copyInto(file, source, { emit, signal, what: 'copied' }))
    made.push(copy)
    const whole = { path, bytes: source.bytes, sha256: copy.value }
    if (options.sha256 !== undefined && options.sha256 !== whole.sha256)
      throw new KnoxError(
        'verification',
        'the image that came from the build host is another than it has there',
        ['nothing of it was kept; run it again'],
      )
    let packed: PublishedFile | undefined
    if (compress) {
      const result = await pack(unfinished(path), packedPath, signal)
      made.push(result)
      packed = result.value
      made.push(await text(`${packedPath}.sha256`, sumLine(packed)))
    }
    made.push(await text(manifestPath, manifestOf(options, whole, packed)))
    made.push(await text(`${path}.sha256`, sumLine(whole)))
    // an older image must never stand beside the papers of this one
    if (replace)
      for (const name of [path, packedPath, `${packedPath}.sha256`]) await rm(name, { force: true })
    for (const { finish } of made.toReversed()) await finish()
    emit({ type: 'done', title: `${path} is made` })
    return { image: whole, packed, manifest: manifestPath }
  } catch (error) {
    for (const { discard } of made) await discard()
    throw error
  }
}
