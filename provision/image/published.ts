import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { hashFile } from './checksum.ts'

/** Images that were published before, by their manifests: what they were made of, and whether they are still whole. */

const file = z.object({ name: z.string().regex(/^knox-[^/]+$/), bytes: z.number(), sha256: z.string() })
const schema = z.object({
  image: file,
  packed: file.optional(),
  inputs: z.array(z.object({ sha256: z.string() })),
})

/** Where an image was published, and what its manifest says of it and of its .xz. */
export interface Earlier {
  readonly path: string
  readonly files: readonly z.infer<typeof file>[]
}

/** The image in the folder whose manifest has this SHA-256 among its inputs; a killed run can have left a manifest alone. */
export const findPublished = async (out: string, input: string): Promise<Earlier | undefined> => {
  for (const name of (await readdir(out).catch(() => [])).sort()) {
    if (!/^knox-.*\.json$/.test(name)) continue
    try {
      const { image, packed, inputs } = schema.parse(JSON.parse(await readFile(join(out, name), 'utf8')))
      if (inputs.some(({ sha256 }) => sha256 === input))
        return { path: join(out, image.name), files: packed === undefined ? [image] : [image, packed] }
    } catch {
      continue // somebody else's
    }
  }
  return undefined
}

/** True if the files are there, byte for byte as the manifest says; with `packed`, an .xz must be among them. */
export const isWhole = async (
  out: string,
  { files }: Earlier,
  { packed, signal }: { readonly packed: boolean; readonly signal: AbortSignal },
): Promise<boolean> => {
  if (packed && files.length < 2) return false
  for (const { name, bytes, sha256 } of files) {
    const path = join(out, name)
    if ((await stat(path).catch(() => undefined))?.size !== bytes) return false
    if ((await hashFile(path, signal, () => undefined)) !== sha256) return false
  }
  return true
}
