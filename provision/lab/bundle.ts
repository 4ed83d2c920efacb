import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

/** Where the lab's guests find knox, two folders deep like every source file, so that relative paths hold. */
export const BUNDLES = join(REPOSITORY, '.lab', 'bin')

/** The file that an entry becomes. */
export const bundleOf = (entry: string): string => join(BUNDLES, `${basename(entry, '.ts')}.mjs`)

/** what runs in every guest: knox itself, and GELI's format for the box's geli */
const ALWAYS = ['scripts/knox.ts', 'provision/lab/geli-block.ts']

/**
 * Joins each entry, and what runs in every guest, with all it imports into one file: an emulated machine would need ten seconds
 * to translate and load the single ones.
 */
export const bundle = async (entries: readonly string[]): Promise<void> => {
  const wanted = [...ALWAYS, ...entries]
  await mkdir(BUNDLES, { recursive: true })
  await build({
    entryPoints: wanted.map((entry) => join(REPOSITORY, entry)),
    outdir: BUNDLES,
    outExtension: { '.js': '.mjs' },
    entryNames: '[name]',
    bundle: true,
    splitting: true, // a verb loads what it needs
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
}
