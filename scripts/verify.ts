import { defineCommand } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { formatBytes, parseBytes } from '../provision/core/sizes.ts'
import { verify as runVerify } from '../provision/runtime/verify.ts'

const BUDGET = '256M'

/** Exit: 0 the same, 2 usage, 5 some could not be compared, 14 a file is not the same on the box, others in --help. */
export const verify = defineCommand({
  name: 'verify',
  summary: 'compare the contents of some files with the box; over time of all',
  details:
    'Files are chosen as by chance, other ones in each run, until a whole round is done. Both sides read them from the newest common snapshot.',
  options: {
    budget: {
      type: 'string',
      value: 'SIZE',
      help: `read about so much, such as 500M or 2G (default ${BUDGET})`,
    },
  },
  watch: watchedAs('verify', 'check'),
  run: async (knox) => {
    const config = await knox.config()
    const text = knox.args.text('budget') ?? BUDGET
    const budget = parseBytes(text)
    if (budget === undefined)
      throw new KnoxError('usage', `${JSON.stringify(text)} is not a size`, ['such as 500M or 2G'])
    if (knox.dryRun) {
      knox.result(`would compare about ${formatBytes(budget)} of files with the box`, { budget })
      return undefined
    }
    const report = await runVerify(config, budget, knox.emit)
    for (const name of report.unread)
      knox.emit({
        type: 'warning',
        text: `not compared, since it is gone or cannot be read at home, or its name is too long: ${name}`,
      })
    const { files, bytes, covered } = report
    const rounds = covered.length === 0 ? '' : `; every file was compared of: ${covered.join(', ')}`
    knox.result(`${files} files (${formatBytes(bytes)}) are the same at home and on the box${rounds}`, report)
    return report.unread.length > 0 ? 'partial' : undefined
  },
})
