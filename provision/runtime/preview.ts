import type { Config } from '../core/config.ts'
import type { Emit } from '../core/events.ts'
import { homeFolder } from '../system/config-file.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { diff, type FileChange } from '../tools/zfs.ts'
import { planFromReceipt } from './backup.ts'
import type { Problem, Send, Step } from './plan.ts'
import { estimateSends } from './send-streams.ts'

export interface PreviewedStream {
  readonly dataset: string
  readonly kind: Send['kind']
  readonly from: string | undefined
  readonly to: string
  /** estimated; undefined where zfs does not say */
  readonly bytes: number | undefined
  /** undefined where they cannot be told: a full stream, a volume, or a file system that is not mounted */
  readonly changes: readonly FileChange[] | undefined
}

export interface Preview {
  readonly streams: readonly PreviewedStream[]
  readonly other: readonly Exclude<Step, Send>[]
  readonly problems: readonly Problem[]
}

/** What the next backup would send, by the last receipt; neither the box nor the key is touched. */
export const preview = async (config: Config, emit: Emit, withFiles: boolean): Promise<Preview> => {
  const { steps, problems } = await planFromReceipt(config, homeFolder(config), emit)
  const sends = steps.filter((step) => step.step === 'send')
  const sizes = await estimateSends(sends, emit)
  const runner = runnerAt(HERE, emit)
  const streams: PreviewedStream[] = []
  for (const [index, { kind, range }] of sends.entries()) {
    const { dataset, from, to } = range
    const changes =
      from === undefined || !withFiles
        ? undefined
        : await runner.read(diff(dataset, from, to)).catch(() => undefined)
    streams.push({ dataset, kind, from, to, bytes: sizes[index], changes })
  }
  return { streams, other: steps.filter((step) => step.step !== 'send'), problems }
}
