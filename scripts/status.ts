import { defineCommand } from '../provision/cli/command.ts'
import { describeStatus } from '../provision/cli/describe.ts'
import { status as readStatus } from '../provision/runtime/status.ts'

export const status = defineCommand({
  name: 'status',
  summary: 'newest snapshots at home and on the box, and the age of the last proof',
  details: 'By the last receipt: neither the box nor its key is touched.',
  run: async (knox) => {
    const found = await readStatus(await knox.config(), knox.emit, new Date())
    knox.result(describeStatus(found), found)
    return undefined
  },
})
