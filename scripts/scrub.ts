import { defineCommand } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { formatDuration, parseDuration } from '../provision/core/sizes.ts'
import { scrub as runScrub } from '../provision/runtime/scrub.ts'

const LEASE = '6h'
const LONGEST = 86_400

/** Exit: 0 no damage found so far, 2 usage, 14 the box's disk is damaged, others in --help. */
export const scrub = defineCommand({
  name: 'scrub',
  summary: 'let the box read its whole disk and check it, within a time',
  details:
    'The disk stays unlocked for that long at the most: the box locks it by itself when the time is over. What is left goes on next time.',
  options: {
    for: { type: 'string', value: 'TIME', help: `such as 90m or 6h, a day at the most (default ${LEASE})` },
  },
  watch: watchedAs('scrub', 'check'),
  run: async (knox) => {
    const config = await knox.config()
    const text = knox.args.text('for') ?? LEASE
    const seconds = parseDuration(text)
    if (seconds === undefined || seconds > LONGEST)
      throw new KnoxError('usage', `${JSON.stringify(text)} is not a time up to a day`, ['such as 90m or 6h'])
    if (knox.dryRun) {
      knox.result(`would scrub the box’s disk for ${formatDuration(seconds)} at the most`, { seconds })
      return undefined
    }
    const state = await runScrub(config, seconds, knox.emit)
    knox.result(
      state.scrub === 'finished'
        ? 'the whole disk was read, and all of it is well'
        : `${state.percent === null ? 'a part' : `${state.percent} %`} of the disk was read without an error; run it again, it goes on`,
      state,
    )
    return undefined
  },
})
