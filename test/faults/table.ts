import type { Verdict } from './judge.ts'

export interface Row {
  readonly name: string
  /** what was seen; a text if it did not hold */
  readonly verdict: Verdict | string
  /** its contents were compared, and are equal */
  readonly looked?: true
}

export interface Circumstances {
  readonly seed: number
  readonly date: string
  /** what ran on both machines, one line each */
  readonly versions: string
}

const rowText = ({ name, verdict }: Row): string => {
  if (typeof verdict === 'string') return `| ${name} | | | | **${verdict.replaceAll('|', '/')}** |`
  const { exitCode, openFor, resent } = verdict
  const locked = openFor === undefined ? '' : `${Math.round(openFor)} s`
  return `| ${name} | ${String(exitCode ?? '')} | ${locked} | ${resent} | holds |`
}

/** docs/faults.md: the matrix as it was seen. */
export const tableOf = (rows: readonly Row[], { seed, date, versions }: Circumstances): string =>
  `# The fault matrix

What \`npm run faults\` saw on ${date} with seed ${seed}, two microVMs of the [lab](lab.md) as home and box (${versions.split('\n').join(', ')}).
The file is written by \`npm run faults -- --write\`; the cells are \`test/faults/cells.ts\`. \`npm test\` runs some of them.

After each cell: the run did not call itself a success unless every file was on the box, no receipt was written otherwise, the box
locked its disk by itself or was off, the next plain \`knox backup\` ended with 0, the box's newest snapshots are equal to home's file
by file (SHA-256), and no more was sent again than the part that was cut (a few MiB that were on their way, and with a power cut what
ZFS had not written yet).

| what happens | the run ends with | box open for | the next run sends | |
|---|---|---|---|---|
${rows.map(rowText).join('\n')}

"Open" counts from the injury to the last look that found something open. A link that goes silent is noticed by sshd within 40 s. These machines are emulated and about
twenty times slower than real ones.
`
