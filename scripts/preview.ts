import { defineCommand } from '../provision/cli/command.ts'
import { describePreview } from '../provision/cli/describe.ts'
import { preview as readPreview } from '../provision/runtime/preview.ts'

export const preview = defineCommand({
  name: 'preview',
  summary: 'what the next backup would send, with sizes and changed files',
  details: 'By the last receipt: neither the box nor its key is touched.',
  run: async (knox) => {
    const found = await readPreview(await knox.config(), knox.emit, true)
    knox.result(describePreview(found), found)
    return undefined
  },
})
