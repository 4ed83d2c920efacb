import { resolve } from 'node:path'
import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { overlayOf, readBoxKeys } from '../provision/image/overlay.ts'
import { writeOverlay } from '../provision/image/write-overlay.ts'
import { homeFolder } from '../provision/system/config-file.ts'

/** Exit: 0 written, 2 without --out, 3 keys or knox.yaml missing, 4 the folder is not empty. */
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
    const config = await knox.config()
    const files = await overlayOf(config.box, await readBoxKeys(homeFolder(config)))
    const listed = files.map(({ path, mode }) => ({ path, mode: mode.toString(8).padStart(4, '0') }))
    if (!knox.dryRun) await writeOverlay(resolve(out), files, knox.args.flag('force'))
    knox.result(listed.map(({ path, mode }) => `${mode} ${path}`).join('\n'), {
      out: resolve(out),
      files: listed,
    })
    return undefined
  },
})
