import type { LastRun } from '../runtime/last-run.ts'
import type { DatasetStatus, Status } from '../runtime/status.ts'
import { writeFileAtomic } from '../system/files.ts'

/** A file for the textfile collector of Prometheus' node_exporter. https://prometheus.io/docs/instrumenting/exposition_formats/ */

interface Sample {
  readonly value: number | null | undefined
  readonly labels?: Readonly<Record<string, string>>
}

interface Metric {
  readonly name: string
  readonly help: string
  readonly samples: readonly Sample[]
}

const STATES: readonly DatasetStatus['state'][] = [
  'proved',
  'behind',
  'not-on-box',
  'no-snapshot',
  'box-only',
]

const seconds = (time: string | null | undefined): number | undefined =>
  time == null ? undefined : Date.parse(time) / 1000

const escaped = (text: string): string =>
  text
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', String.raw`\n`)

const sampleLine = (box: string, name: string, { value, labels = {} }: Sample): readonly string[] => {
  const words = Object.entries({ box, ...labels }).map(([label, text]) => `${label}="${escaped(text)}"`)
  return value == null ? [] : [`${name}{${words.join(',')}} ${value}`]
}

/** The text of the file; what is not known, such as a proof that never was, is left out. */
export const metricsText = (box: string, last: LastRun, status: Partial<Status>): string => {
  const { datasets } = status
  const count = (state: string) => datasets?.filter((one) => one.state === state).length
  const metrics: readonly Metric[] = [
    {
      name: 'knox_last_proof_timestamp_seconds',
      help: 'When the box last proved what it holds.',
      samples: [{ value: seconds(status.provedAt) }],
    },
    {
      name: 'knox_last_success_timestamp_seconds',
      help: 'When a backup last ended well: proved, or asked the box and found nothing to send.',
      samples: [{ value: seconds(last.succeeded) }],
    },
    {
      name: 'knox_last_run_timestamp_seconds',
      help: 'When the last backup ended, be it well or not.',
      samples: [{ value: seconds(last.ended) }],
    },
    {
      name: 'knox_last_run_exit_code',
      help: 'Exit code of the last backup; 0 is success.',
      samples: [{ value: last.code }],
    },
    {
      name: 'knox_last_run_bytes',
      help: 'Bytes that the last backup sent.',
      samples: [{ value: last.bytes }],
    },
    {
      name: 'knox_datasets',
      help: 'Datasets by how home and box stand.',
      samples: STATES.map((state) => ({ value: count(state), labels: { state } })),
    },
    {
      name: 'knox_box_used_bytes',
      help: 'Bytes used in the pool of the box at the last proof.',
      samples: [{ value: status.used }],
    },
    {
      name: 'knox_box_available_bytes',
      help: 'Bytes free in the pool of the box at the last proof.',
      samples: [{ value: status.available }],
    },
  ]
  const lines = metrics.flatMap(({ name, help, samples }) => {
    const own = samples.flatMap((sample) => sampleLine(box, name, sample))
    return own.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, ...own]
  })
  return `${lines.join('\n')}\n`
}

/** Writes it in one step, so that nobody reads half of it; others may read it, since node_exporter is another user. */
export const writeMetrics = (path: string, text: string): Promise<void> =>
  writeFileAtomic(path, text, { replace: true, mode: 0o644 })
