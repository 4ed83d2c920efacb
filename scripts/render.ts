import { resolve } from 'node:path'
import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { overlayOf, readBoxKeys, type OverlayFile } from '../provision/image/overlay.ts'
import { checkTarget, writeOverlay } from '../provision/image/write-overlay.ts'
import { homeFolder } from '../provision/system/config-file.ts'

const listed = ({ path, mode, content }: OverlayFile) =>
  typeof content === 'object' && 'linkTo' in content
    ? { path, linkTo: content.linkTo }
    : { path, mode: mode.toString(8).padStart(4, '0') }

const lineOf = (file: ReturnType<typeof listed>): string =>
  'linkTo' in file ? `link ${file.path} -> ${file.linkTo}` : `${file.mode} ${file.path}`

/** Exit: 0 written, 2 without --out, 3 keys or knox.yaml missing or wrong, 4 the folder is not empty. */
export const render = defineCommand({
  name: 'render',
  summary: 'write every file of the box, to be laid over its FreeBSD system',
  details: 'The result holds the box’s host key: keep it as private as the key folder.',
  options: {
    out: {
      type: 'string',
      value: 'DIR',
      help: 'the folder that gets them, as they belong under / on the box',
    },
    force: { type: 'boolean', help: 'replace files that are there' },
  },
  run: async (knox) => {
    const out = knox.args.text('out')
    if (out === undefined) throw new KnoxError('usage', 'render needs --out DIR', ['see: knox render --help'])
    const target = resolve(out)
    const force = knox.args.flag('force')
    const config = await knox.config()
    const overlay = await overlayOf(config.box, await readBoxKeys(homeFolder(config)))
    if (knox.dryRun) await checkTarget(target, force)
    else await writeOverlay(target, overlay, force)
    const files = overlay.map(listed)
    knox.result(files.map(lineOf).join('\n'), { out: target, written: !knox.dryRun, files })
    return undefined
  },
})
