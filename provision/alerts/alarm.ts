import { hostname } from 'node:os'
import * as z from 'zod'
import { EXIT_CODES, KnoxError, messageOf, type ExitName } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { readLastRun, writeLastRun, type LastRun } from '../runtime/last-run.ts'
import { readReceipt } from '../runtime/receipt.ts'
import { status as readStatus, type Status } from '../runtime/status.ts'
import { exists } from '../system/files.ts'
import { tidyUp } from '../system/process.ts'
import { CLOCKS, proofAge } from './assess.ts'
import { runHook } from './hook.ts'
import { composeMail, sendMail } from './mail.ts'
import { metricsText, writeMetrics } from './metrics.ts'
import { sendPing } from './ping.ts'
import { readSettings, type Settings } from './settings.ts'

/** What is to be known of a run's end. */
export interface RunEnd {
  readonly exit: ExitName
  /** what was thrown, if something was */
  readonly error: unknown
  /** what the verb gave as its result, if it came so far */
  readonly result: unknown
  /** what the exit code means, where nothing was thrown */
  readonly meaning: string
}

/** A backup's end is kept, and its silence is an alarm. Of a check only a bad end is told: a good one proves no backup. */
export type Watched = 'backup' | 'check'

export interface WatchOptions {
  readonly verb: string
  readonly watched: Watched
  /** what --config names */
  readonly configPath: string | undefined
  /** a person sits there and sees how it ends */
  readonly interactive: boolean
  readonly emit: Emit
}

/** of the report of a backup */
const resultSchema = z.object({
  bytes: z.number(),
  problems: z.array(z.object({ message: z.string(), hint: z.string() })),
})

/** The run as it is kept and told. */
export const lastRunOf = (
  verb: string,
  box: string,
  started: Date,
  ended: Date,
  { exit, error, result, meaning }: RunEnd,
  before: LastRun | undefined,
): LastRun => {
  const report = resultSchema.safeParse(result).data
  const problems = report?.problems.map(({ message, hint }) => `${message}; ${hint}`) ?? []
  const thrown = error instanceof KnoxError ? error.hints : ['this is a bug in knox; its log has more']
  return {
    version: 1,
    verb,
    box,
    started: started.toISOString(),
    ended: ended.toISOString(),
    exit,
    code: EXIT_CODES[exit],
    message: exit === 'ok' ? '' : error === undefined ? meaning : messageOf(error),
    hints: exit === 'ok' ? [] : [...(error === undefined ? [] : thrown), ...problems],
    bytes: report?.bytes ?? null,
    succeeded: exit === 'ok' ? ended.toISOString() : (before?.succeeded ?? null),
  }
}

/** What the receipt says of the box; home's pool is not asked. */
const provedStatus = async (folder: string): Promise<Partial<Status>> => {
  const receipt = await readReceipt(folder).catch(() => undefined)
  return { provedAt: receipt?.provedAt, used: receipt?.pool.used, available: receipt?.pool.available }
}

/** How home and box stand; only what the receipt says where home cannot be read. A pool that hangs takes its time. */
const statusNow = async ({ config, folder }: Settings, now: Date): Promise<Partial<Status>> => {
  try {
    if (config !== undefined) return await readStatus(config, () => undefined, now)
  } catch {
    // a pool that is gone is why the run failed; it is told by that
  }
  return provedStatus(folder)
}

/** Tells all that want to know; each by itself, so that none keeps another from hearing it. */
const tell = async (
  settings: Settings,
  last: LastRun,
  ended: Date,
  watched: Watched,
  emit: Emit,
): Promise<void> => {
  const { alerts, box, folder } = settings
  const isBackup = watched === 'backup'
  const failed = last.exit !== 'ok'
  const warn = (text: string, hint = 'see docs/alerts.md') => emit({ type: 'warning', text, hint })
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      const reason = await work()
      if (typeof reason === 'string') warn(`${what} did not work: ${reason}`)
    } catch (error) {
      // the sentence of a system error may name a file of the owner's, never a ping's address
      warn(`${what} did not work: ${messageOf(error)}`)
    }
  }
  // without keys there is no folder yet, and nothing that this run could have been about
  if (isBackup && (await exists(folder)))
    await attempt('keeping how this run ended (last-run.json)', () => writeLastRun(folder, last))
  const { provedAt } = await provedStatus(folder)
  const age = proofAge({ provedAt, lastRun: last } as Status, ended)
  const { ping, command, mail, metrics } = alerts
  await Promise.all([
    metrics === undefined || !isBackup
      ? undefined
      : attempt('writing alerts.metrics', async () =>
          // one zfs process more, which none of the others waits for
          writeMetrics(metrics, metricsText(box, last, await statusNow(settings, ended))),
        ),
    ping === undefined || !isBackup
      ? undefined
      : attempt('telling alerts.ping', () => sendPing(ping, failed ? 'fail' : 'success')),
    command === undefined || (!failed && alerts.on === 'failure')
      ? undefined
      : attempt('running alerts.command', () => runHook(command, last)),
    mail === undefined || !failed
      ? undefined
      : attempt('the mail to alerts.mail', () => sendMail(composeMail(mail, hostname(), last, age))),
  ])
}

/**
 * True for an end that nobody is told of, and that is not kept: the owner at the terminal stopped it; or another run is
 * under way, which will tell for itself, and the last proof is not too old yet, nor from a clock that was ahead.
 */
const isQuiet = async (
  exit: ExitName,
  interactive: boolean,
  settings: Settings,
  now: Date,
): Promise<boolean> => {
  if (exit === 'interrupted') return interactive
  if (exit !== 'busy') return false
  const receipt = await readReceipt(settings.folder).catch(() => undefined)
  const lastRun = await readLastRun(settings.folder)
  const age = proofAge({ provedAt: receipt?.provedAt, lastRun } as Status, now)
  return age !== undefined && age >= -CLOCKS && age <= settings.alerts['max-age']
}

/**
 * Watches one run: says that it begins, and returns what is to be called at its end, whatever the end. Neither ever throws,
 * and what does not work is a warning: an alarm changes nothing of how a run ends.
 */
export const watchRun = ({ verb, watched, configPath, interactive, emit }: WatchOptions) => {
  const started = new Date()
  const begun = (async () => {
    const settings = await readSettings(configPath)
    const ping = settings?.alerts.ping
    // who stops a run at the terminal does not want a healthcheck to wait for its end
    const reason =
      ping === undefined || interactive || watched === 'check' ? undefined : await sendPing(ping, 'start')
    if (reason !== undefined)
      emit({
        type: 'warning',
        text: `telling alerts.ping did not work: ${reason}`,
        hint: 'see docs/alerts.md',
      })
    return settings
  })().catch(() => undefined)
  return (end: RunEnd): Promise<void> =>
    tidyUp(async () => {
      const settings = await begun
      const ended = new Date()
      if (settings === undefined || (await isQuiet(end.exit, interactive, settings, ended))) return
      const before = await readLastRun(settings.folder)
      const last = lastRunOf(verb, settings.box, started, ended, end, before)
      await tell(settings, last, ended, watched, emit)
    }).catch(() => undefined)
}
