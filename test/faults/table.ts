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

const lineOf = ({ name, verdict }: Row, { date, seed }: Circumstances): string => {
  const when = `${date}, seed ${seed}`
  if (typeof verdict === 'string') return `| ${name} | | | | **${verdict.replaceAll('|', '/')}** | ${when} |`
  const { exitCode, openFor, resent } = verdict
  const locked = openFor === undefined ? '' : `${Math.round(openFor)} s`
  return `| ${name} | ${String(exitCode ?? '')} | ${locked} | ${resent} | holds | ${when} |`
}

/** The lines of a table that was written before, by the cell's name. */
const linesOf = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^\| (.+?) \|.*$/gm)].map(([line, name = '']) => [name, line]))

/**
 * docs/faults.md: every cell as it was last seen. The matrix takes hours and may be run in parts: what this run did not reach keeps
 * its line from `earlier`, the file as it was.
 */
export const tableOf = (
  names: readonly string[],
  rows: readonly Row[],
  circumstances: Circumstances,
  earlier: string,
): string => {
  const known = linesOf(earlier)
  const lines = names.map((name) => {
    const row = rows.find((candidate) => candidate.name === name)
    if (row !== undefined) return lineOf(row, circumstances)
    return known.get(name) ?? `| ${name} | | | | **not seen yet** | |`
  })
  return `# The fault matrix

What \`npm run faults\` saw: two microVMs of the [lab](lab.md) as home and box (${circumstances.versions.split('\n').join(', ')}).
The file is written by \`npm run faults -- --write\`, each line when its cell was last run; the cells are \`test/faults/cells.ts\`. \`npm test\` runs some of them.

A cell holds if, after it, the run did not call itself a success unless every file was on the box, no receipt was written otherwise, the box
locked its disk by itself or was off, the next plain \`knox backup\` ended with 0, the box's newest snapshots are equal to home's file
by file (SHA-256), and no more was sent again than the part that was cut (a few MiB that were on their way, and with a power cut what
ZFS had not written yet).

| what happens | the run ends with | box open for | the next run sends | | seen |
|---|---|---|---|---|---|
${lines.join('\n')}

"Open" counts from the injury to the last look that found something open. A link that goes silent is noticed by sshd within 40 s. These machines are emulated and about
twenty times slower than real ones.
`
}
