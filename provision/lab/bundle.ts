import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

/** Where the lab's guests find knox, two folders deep like every source file, so that relative paths hold. */
export const BUNDLES = join(REPOSITORY, '.lab', 'bin')

/** The file that an entry becomes. */
export const bundleOf = (entry: string): string => join(BUNDLES, `${basename(entry, '.ts')}.mjs`)

/** the disk's encryption in every guest: one file, since it is taken from here to where the box finds it */
const ALONE = 'provision/lab/geli-block.ts'

const buildAll = (entries: readonly string[], splitting: boolean) =>
  build({
    entryPoints: entries.map((entry) => join(REPOSITORY, entry)),
    outdir: BUNDLES,
    outExtension: { '.js': '.mjs' },
    entryNames: '[name]',
    bundle: true,
    splitting,
    minifySyntax: true,
    minifyWhitespace: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    banner: {
      js: "import { createRequire as nodeRequire } from 'node:module';const require = nodeRequire(import.meta.url);",
    },
    logLevel: 'warning',
    external: ['esbuild', 'tsx'],
  })

/**
 * Joins each entry, knox itself, and the box's geli with all that they import: an emulated machine would need ten seconds to translate and
 * load the single files. What a verb of knox does not need stays apart, and is not loaded.
 */
export const bundle = async (entries: readonly string[]): Promise<void> => {
  await mkdir(BUNDLES, { recursive: true })
  await buildAll(['scripts/knox.ts', ...entries], true)
  await buildAll([ALONE], false)
}
