import { formatBytes, formatDuration } from '../core/sizes.ts'
import { printable } from '../core/names.ts'
import type { Preview, PreviewedStream } from '../runtime/preview.ts'
import type { BoxInventory } from '../runtime/session.ts'
import type { DatasetStatus, Status } from '../runtime/status.ts'

/** Results as people read them. */

const MOST_FILES = 50

const SIGNS = { '+': 'new', '-': 'removed', M: 'changed', R: 'renamed' } as const

const describeStream = (stream: PreviewedStream): readonly string[] => {
  const size = stream.bytes === undefined ? 'size unknown' : formatBytes(stream.bytes)
  const range = stream.from === undefined ? `all of @${stream.to}` : `@${stream.from} to @${stream.to}`
  const files = (stream.changes ?? []).slice(0, MOST_FILES).map(({ kind, path, renamedTo }) => {
    const to = renamedTo === undefined ? '' : ` -> ${printable(renamedTo)}`
    return `    ${SIGNS[kind].padEnd(8)} ${printable(path)}${to}`
  })
  const more = (stream.changes?.length ?? 0) - MOST_FILES
  return [
    `${stream.dataset}: ${range}, ${size}`,
    ...files,
    ...(more > 0 ? [`    ... and ${more} more files`] : []),
  ]
}

/** What the next backup would send. */
export const describePreview = ({ streams, other, problems }: Preview): string => {
  const total = streams.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)
  return [
    ...problems.map(({ message, hint }) => `! ${message}\n    ${hint}`),
    ...other.map((step) =>
      step.step === 'rename'
        ? `rename on the box: ${step.from} to ${step.to}`
        : `new and empty on the box: ${step.dataset}`,
    ),
    ...streams.flatMap(describeStream),
    streams.length === 0 ? 'nothing to send' : `${streams.length} streams, ${formatBytes(total)} in all`,
  ].join('\n')
}

const WORDS: Readonly<Record<DatasetStatus['state'], string>> = {
  proved: 'proved',
  behind: 'behind',
  'not-on-box': 'not on the box',
  'no-snapshot': 'no snapshot yet',
  'box-only': 'only on the box',
}

const describeVerify = ({ verify }: Status): readonly string[] => {
  if (verify === undefined) return ['contents: never compared (knox verify)']
  const { at, files, bytes, different, datasets } = verify
  const rounds = Object.values(datasets).map(({ covered }) => covered)
  const oldest = rounds.includes(null) ? undefined : rounds.sort()[0]
  return [
    different.length === 0
      ? `contents: ${files} files (${formatBytes(bytes)}) the same at ${at}; ` +
        (oldest === undefined || oldest === null
          ? 'not yet every file once'
          : `every file once since ${oldest}`)
      : `contents: ${different.length} files were NOT the same at ${at}: ${printable(different[0] ?? '')}`,
  ]
}

const describeScrub = ({ scrub }: Status): readonly string[] => {
  if (scrub === undefined) return ['disk: never scrubbed (knox scrub)']
  const damage = scrub.errors > 0 || scrub.damaged.length > 0 || scrub.state !== 'ONLINE'
  const last = scrub.finished === null ? 'never to its end' : `to its end at ${scrub.finished}`
  return [
    `disk: ${damage ? `DAMAGED (${scrub.state}, ${scrub.errors} errors)` : 'no damage'} at ${scrub.at}, scrubbed ${last}`,
  ]
}

const describeLastRun = ({ lastRun }: Status): readonly string[] => {
  if (lastRun === undefined || lastRun.exit === 'ok') return []
  const { verb, ended, code, message, hints } = lastRun
  return [
    `the last ${verb} FAILED at ${ended} (exit ${code}): ${printable(message)}`,
    ...hints.map((hint) => `  ${printable(hint)}`),
  ]
}

/** How home and box stand. */
export const describeStatus = (status: Status): string => {
  const { box, provedAt, age, used, available, trouble, datasets } = status
  const width = Math.max(...datasets.map(({ dataset }) => dataset.length), 7)
  const at = (name: string | undefined) => (name === undefined ? '-' : `@${name}`)
  return [
    provedAt === undefined || age === undefined
      ? `box ${box}: nothing was ever proved to be there`
      : `box ${box}: last proof ${formatDuration(age)} ago (${provedAt})`,
    ...(used === undefined || available === undefined
      ? []
      : [`its pool: ${formatBytes(used)} used, ${formatBytes(available)} free`]),
    ...(trouble === undefined ? [] : [`its disk fails: ${trouble}`]),
    ...describeVerify(status),
    ...describeScrub(status),
    ...describeLastRun(status),
    '',
    ...datasets.map(
      ({ dataset, state, home, box: onBox }) =>
        `${dataset.padEnd(width)}  ${WORDS[state].padEnd(15)}  home ${at(home)}  box ${at(onBox)}`,
    ),
  ].join('\n')
}

/** What the box holds: each dataset with its snapshots, oldest first. */
export const describeHoldings = ({ pool, datasets }: BoxInventory): string =>
  [
    `pool ${pool.name}: ${formatBytes(pool.used)} used, ${formatBytes(pool.available)} free`,
    ...datasets.flatMap(({ name, snapshots }) => [name, ...snapshots.map((one) => `  @${one.name}`)]),
  ].join('\n')
