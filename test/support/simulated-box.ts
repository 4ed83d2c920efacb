import type { Plan, Step } from '../../provision/runtime/plan.ts'
import type { Dataset, Snapshot } from '../../provision/tools/zfs.ts'

/**
 * Inventories in a tiny notation: one text a dataset, `NAME: SNAPSHOT ...`, oldest first. A snapshot is its guid;
 * `name=guid` where the two differ. `wd/a:` has no snapshot.
 */
export const inventory = (...lines: readonly string[]): readonly Dataset[] =>
  lines.map((line) => {
    const [name = '', rest = ''] = line.split(':')
    const snapshots = rest
      .trim()
      .split(/ +/)
      .filter((word) => word !== '')
      .map((word, n): Snapshot => {
        const [snapshot = '', guid = snapshot] = word.split('=')
        return { name: snapshot, guid, createtxg: BigInt(n + 1) }
      })
    return { name, type: 'filesystem', guid: `of ${name}`, createtxg: 0n, resumeToken: undefined, snapshots }
  })

/** A step in a few words, as the tables of the tests have them. */
export const wordsOf = (step: Step): string => {
  if (step.step === 'rename') return `rename ${step.from} ${step.to}`
  if (step.step === 'place') return `place ${step.dataset}`
  const { dataset, from, to } = step.range
  if (step.kind === 'resume') return `rest of ${dataset}@${to} > ${step.dataset}`
  return step.kind === 'full'
    ? `${dataset}@${to} > ${step.dataset}`
    : `${dataset}@${from ?? ''}..${to} > ${step.dataset}`
}

interface Kept {
  /** stays with a dataset through its renames */
  readonly id: number
  readonly snapshots: { name: string; guid: string }[]
}

const parentOf = (name: string): string => (name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '')

/** Does the steps of a plan as zfs(8) on the box would, and throws where zfs would refuse. */
export class SimulatedBox {
  readonly #datasets = new Map<string, Kept>()
  #next = 0

  constructor(datasets: readonly Dataset[]) {
    for (const { name, snapshots } of datasets)
      this.#add(name).snapshots.push(...snapshots.map((one) => ({ ...one })))
  }

  #add(name: string): Kept {
    const made: Kept = { id: (this.#next += 1), snapshots: [] }
    this.#datasets.set(name, made)
    return made
  }

  #refuse(step: Step, why: string): never {
    throw new Error(`${wordsOf(step)}: ${why}; the box has ${[...this.#datasets.keys()].join(', ')}`)
  }

  list(): readonly Dataset[] {
    return [...this.#datasets].map(([name, { snapshots }]) => ({
      name,
      type: 'filesystem',
      guid: `of ${name}`,
      createtxg: 0n,
      resumeToken: undefined,
      snapshots: snapshots.map(({ name: snapshot, guid }, n) => ({
        name: snapshot,
        guid,
        createtxg: BigInt(n + 1),
      })),
    }))
  }

  /** All that must never go: each dataset with its snapshots, whatever its name is. */
  holdings(): ReadonlySet<string> {
    return new Set(
      [...this.#datasets.values()].flatMap(({ id, snapshots }) => [
        `${id}`,
        ...snapshots.map(({ guid }) => `${id} ${guid}`),
      ]),
    )
  }

  run({ steps }: Plan, home: readonly Dataset[]): void {
    for (const step of steps) {
      if (step.step === 'rename') this.#rename(step)
      else if (step.step === 'place') this.#place(step)
      else this.#receive(step, home)
    }
  }

  #place(step: Extract<Step, { step: 'place' }>): void {
    if (this.#datasets.has(step.dataset)) return
    if (!this.#datasets.has(parentOf(step.dataset))) this.#refuse(step, 'no parent')
    this.#add(step.dataset)
  }

  #rename(step: Extract<Step, { step: 'rename' }>): void {
    const { from, to } = step
    if (!this.#datasets.has(from)) this.#refuse(step, 'there is none')
    if (this.#datasets.has(to)) this.#refuse(step, 'the name is taken')
    if (!this.#datasets.has(parentOf(to))) this.#refuse(step, 'no parent')
    if (`${to}/`.startsWith(`${from}/`)) this.#refuse(step, 'below itself')
    if (parentOf(from) === '') this.#refuse(step, 'a pool is not renamed')
    for (const [name, kept] of [...this.#datasets]) {
      if (!`${name}/`.startsWith(`${from}/`)) continue
      this.#datasets.delete(name)
      this.#datasets.set(to + name.slice(from.length), kept)
    }
  }

  #receive(step: Extract<Step, { step: 'send' }>, home: readonly Dataset[]): void {
    const { dataset, range } = step
    const source = home.find(({ name }) => name === range.dataset)?.snapshots ?? []
    const last = source.findIndex(({ name }) => name === range.to)
    const first = source.findIndex(({ name }) => name === range.from)
    if (last < 0 || (range.from !== undefined && (first < 0 || first >= last)))
      this.#refuse(step, 'zfs send fails')
    const there = this.#datasets.get(dataset)
    if (step.kind === 'full') {
      if (range.from !== undefined) this.#refuse(step, 'the stream is not full')
      if (there !== undefined && there.snapshots.length > 0) this.#refuse(step, 'it has snapshots')
      if (there === undefined && !this.#datasets.has(parentOf(dataset))) this.#refuse(step, 'no parent')
      ;(there ?? this.#add(dataset)).snapshots.push({ ...source[last]! })
      return
    }
    if (step.kind === 'resume') this.#refuse(step, 'no token here')
    if (there === undefined) this.#refuse(step, 'there is none')
    if (range.from === undefined) this.#refuse(step, 'the stream is full')
    if (there.snapshots.at(-1)?.guid !== source[first]?.guid)
      this.#refuse(step, 'the incremental source is not the newest')
    for (const snapshot of source.slice(first + 1, last + 1)) {
      if (there.snapshots.some(({ name }) => name === snapshot.name))
        this.#refuse(step, `@${snapshot.name} is taken`)
      there.snapshots.push({ ...snapshot })
    }
  }
}
