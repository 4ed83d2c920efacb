import { defineCommand, type Command, type Knox } from '../provision/cli/command.ts'
import { describePreview } from '../provision/cli/describe.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import type { ExitName } from '../provision/core/errors.ts'
import { formatBytes, formatDuration } from '../provision/core/sizes.ts'
import { backup as runBackup, type BackupReport } from '../provision/runtime/backup.ts'
import { CONSENTS, type Consent } from '../provision/runtime/consent.ts'
import { preview } from '../provision/runtime/preview.ts'

const WORDS = Object.keys(CONSENTS) as readonly Consent[]

export const BACKUP_OPTIONS: NonNullable<Command['options']> = {
  prove: { type: 'boolean', help: 'unlock the disk and look, even if nothing is to be sent' },
  ...Object.fromEntries(
    WORDS.map((word) => [`accept-${word}`, { type: 'boolean' as const, help: CONSENTS[word] }]),
  ),
}

/** The exit of a run that was proved: undefined, which is ok, or what its gravest problem asks for. */
export const exitOf = ({
  problems,
  delivered,
}: Pick<BackupReport, 'problems' | 'delivered'>): ExitName | undefined => {
  if (problems.length === 0) return undefined
  if (problems.some(({ kind }) => kind === 'damage')) return 'verification'
  if (problems.every(({ kind }) => kind === 'deletion')) return 'refused'
  const onlyTrouble = problems.some(({ kind }) => kind === 'diverged') && delivered === 0
  return onlyTrouble ? 'diverged' : 'partial'
}

/** Sends what the box lacks; also the second half of snapback. */
export const sendToBox = async (knox: Knox): Promise<ExitName | undefined> => {
  const config = await knox.config()
  if (knox.dryRun) {
    const plan = await preview(config, knox.emit, false)
    knox.result(describePreview(plan), plan)
    return undefined
  }
  const accept = new Set(WORDS.filter((word) => knox.args.flag(`accept-${word}`)))
  const options = { prove: knox.args.flag('prove'), accept }
  const report = await runBackup(config, options, knox.emit)
  for (const { message, hint } of report.problems) knox.emit({ type: 'warning', text: message, hint })
  const { streams, bytes, seconds, receipt } = report
  knox.result(
    report.outcome === 'nothing-to-send'
      ? `nothing to send: the box has all of it since ${receipt.provedAt}, and its disk is locked`
      : `${streams} streams, ${formatBytes(bytes)} in ${formatDuration(seconds)}; ` +
          `${receipt.datasets.length} datasets proved at ${receipt.provedAt}, disk locked`,
    report,
  )
  return exitOf(report)
}

/** Exit: 0 proved or nothing to send, 4 proved, but something is gone at home and wants a consent, 5 some datasets stayed behind, 14 proved, but the box’s disk fails, 10 unreachable, 13 diverged, others in --help. */
export const backup = defineCommand({
  name: 'backup',
  summary: 'send what the box lacks, prove that it arrived and that the disk is locked again',
  options: BACKUP_OPTIONS,
  watch: watchedAs('backup'),
  run: sendToBox,
})
