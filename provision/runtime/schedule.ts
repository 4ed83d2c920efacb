import { KnoxError } from '../core/errors.ts'
import { quote, quoteAll } from '../core/quote.ts'

/** The lines of crontab(5) that run knox by themselves. */

/** What cron may run: knox's words, the days in crontab(5)'s form, how that is said, and the time of day where the owner names none. */
export const JOBS = {
  snapback: { words: ['snapback'], days: '* * *', often: 'every day', time: '17:59' },
  verify: { words: ['verify'], days: '* * 0', often: 'each Sunday', time: '3:30' },
  scrub: { words: ['scrub'], days: '1 * *', often: 'on the first of each month', time: '4:30' },
  prune: { words: ['prune', '--yes'], days: '* * 0', often: 'each Sunday', time: '5:30' },
} as const

export type JobName = keyof typeof JOBS

export interface Schedule {
  readonly hour: number
  readonly minute: number
}

/** `17:59`. Throws `usage` if it is no time of day. */
export const parseTime = (text: string): Schedule => {
  const [, hour = '', minute = ''] = /^([0-9]{1,2}):([0-9]{2})$/.exec(text) ?? []
  if (hour === '' || Number(hour) > 23 || Number(minute) > 59)
    throw new KnoxError('usage', `${JSON.stringify(text)} is not a time of day`, ['such as 17:59'])
  return { hour: Number(hour), minute: Number(minute) }
}

/** What is wrong with a time of day, for a question; undefined if nothing is. */
export const problemOfTime = (text: string): string | undefined => {
  try {
    parseTime(text)
    return undefined
  } catch {
    return 'is not a time of day, such as 17:59'
  }
}

/** cron gives its commands /usr/bin:/bin only; zfs is in /sbin or /usr/sbin, node in /usr/local/bin on FreeBSD */
const PATH = '/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin'

/** cron(8) of FreeBSD takes commands of up to 1000 bytes */
const LONGEST_LINE = 990

const markOf = (config: string, job: JobName): string =>
  `# knox${job === 'snapback' ? '' : ` ${job}`}: ${config}`

/** In crontab(5) a bare % ends the command, whatever quotes stand around it. */
const escaped = (command: string): string => command.replaceAll('%', String.raw`\%`)

export interface CronJob extends Schedule {
  /** absolute paths: what runs knox, its script, knox.yaml, where the output goes */
  readonly node: string
  readonly script: string
  readonly config: string
  readonly log: string
  /** snapback if undefined */
  readonly job?: JobName
}

/** One line, with full paths. knox itself takes a lock, so that a long run and the next do not collide. */
export const cronLine = (cronJob: CronJob): string => {
  const { hour, minute, node, script, config, log, job = 'snapback' } = cronJob
  for (const path of [node, script, config, log])
    if (/[\n\r]/.test(path))
      throw new KnoxError('usage', 'a path with a line break cannot stand in a crontab')
  const command = `PATH=${PATH} ${quoteAll([node, script, ...JOBS[job].words, '--config', config])} >>${quote(log)} 2>&1`
  // SHELL= above it may name csh; to that a quoted word and a comment mean the same
  const line = `${minute} ${hour} ${JOBS[job].days} ${escaped(`/bin/sh -c ${quote(command)} ${markOf(config, job)}`)}`
  if (Buffer.byteLength(line) > LONGEST_LINE)
    throw new KnoxError('usage', 'the line for the crontab would be too long', ['use shorter paths'])
  return line
}

/** True if this line of a crontab runs at that time of every day. */
export const runsAt = (line: string, { hour, minute }: Schedule): boolean =>
  line.startsWith(`${minute} ${hour} * * * `)

const isOurs = (line: string, config: string, job: JobName): boolean =>
  line.endsWith(` ${escaped(markOf(config, job))}`)

/** as crontab(5) has it: blanks may stand before the # */
const isComment = (line: string): boolean => /^\s*#/.test(line)

/** The line of this knox.yaml and job that runs in a crontab; undefined if there is none. */
export const findLine = (crontab: string, config: string, job: JobName = 'snapback'): string | undefined =>
  crontab.split('\n').find((line) => isOurs(line, config, job) && !isComment(line))

/** The crontab with this line in place of the one that knox wrote for the job, or without it; all else as it was. */
export const withLine = (
  crontab: string,
  config: string,
  line: string | undefined,
  job: JobName = 'snapback',
): string => {
  const lines = crontab.split('\n')
  const at = lines.findIndex((one) => isOurs(one, config, job))
  const others = lines.filter((one) => !isOurs(one, config, job))
  if (line === undefined) return others.join('\n')
  if (at !== -1) return others.toSpliced(at, 0, line).join('\n')
  const before = crontab === '' || crontab.endsWith('\n') ? crontab : `${crontab}\n`
  return `${before}${line}\n`
}
