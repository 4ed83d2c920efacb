import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineCommand } from '../provision/cli/command.ts'
import type { Config } from '../provision/core/config.ts'
import { KnoxError } from '../provision/core/errors.ts'
import type { Emit } from '../provision/core/events.ts'
import { LOG } from '../provision/runtime/log-file.ts'
import { requireToPrune } from '../provision/runtime/prune.ts'
import { cronLine, findLine, JOBS, parseTime, withLine, type JobName } from '../provision/runtime/schedule.ts'
import { findConfig, homeFolder } from '../provision/system/config-file.ts'
import { HERE, runnerAt } from '../provision/system/runner.ts'
import { readCrontab, writeCrontab } from '../provision/tools/crontab.ts'

const isJob = (word: string): word is JobName => Object.hasOwn(JOBS, word)

const jobOf = ([word = 'snapback', ...more]: readonly string[]): JobName => {
  if (isJob(word) && more.length === 0) return word
  throw new KnoxError('usage', `knox schedule takes one of ${Object.keys(JOBS).join(', ')}`)
}

/** Each Sunday it would fail otherwise. */
const mayPrune = async (config: Config, emit: Emit): Promise<void> => {
  if (config.home.keep === undefined)
    throw new KnoxError('config', 'home.keep is missing: there is no policy to prune by', [
      'knox.example.yaml shows one',
    ])
  await requireToPrune(config, emit)
}

/** Exit: 0 done, 2 not a time or no such job, 3 no knox.yaml or no policy to prune by, 4 no crontab allowed, 15 no cron here, or no right to prune. */
export const schedule = defineCommand({
  name: 'schedule',
  summary: 'run knox snapback every day, by a line in your crontab; or verify, scrub or prune',
  positionals: `[${Object.keys(JOBS).join('|')}]`,
  details:
    Object.entries(JOBS)
      .map(([job, { often, time }]) => `${job.padEnd(9)}${often}, at ${time}\n`)
      .join('') +
    'The line has full paths and appends to knox.log in the key folder, which is turned at a mebibyte. Other lines of the crontab stay as they are.',
  options: {
    time: { type: 'string', value: 'HH:MM', help: 'when (default: above)' },
    remove: { type: 'boolean', help: 'take the line out again' },
    print: { type: 'boolean', help: 'only print the line' },
  },
  run: async (knox) => {
    const job = jobOf(knox.positionals)
    const settings = await knox.config()
    const config = await findConfig(knox.configPath)
    if (config === undefined) throw new KnoxError('config', 'knox.yaml is gone')
    const remove = knox.args.flag('remove')
    if (job === 'prune' && !remove) await mayPrune(settings, knox.emit)
    const line = cronLine({
      ...parseTime(knox.args.text('time') ?? JOBS[job].time),
      job,
      node: process.execPath,
      script: fileURLToPath(new URL('./knox.mjs', import.meta.url)),
      config,
      log: join(homeFolder(settings), LOG),
    })
    if (knox.args.flag('print')) {
      knox.result(line, { line })
      return undefined
    }
    const runner = runnerAt(HERE, knox.emit)
    const before = await runner.read(readCrontab)
    const wanted = remove ? undefined : line
    const after = withLine(before, config, wanted, job)
    if (knox.dryRun) {
      const would =
        wanted === undefined
          ? `would remove: ${findLine(before, config, job) ?? 'nothing'}`
          : `would write: ${line}`
      knox.result(would, { line: wanted ?? null })
      return undefined
    }
    if (after !== before) await runner.act(writeCrontab(after))
    const found = findLine(await runner.read(readCrontab), config, job)
    if (found !== wanted)
      throw new KnoxError('verification', 'the crontab does not hold what was written to it')
    knox.result(wanted === undefined ? `knox ${job} is in the crontab no more` : `in the crontab: ${line}`, {
      line: wanted ?? null,
    })
    return undefined
  },
})
