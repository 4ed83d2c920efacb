import type { Dataset } from '../../provision/tools/zfs.ts'

/** A home whose owner does all that zfs(8) lets an owner do, told by numbers, so that fast-check can shrink them. */

interface Kept {
  snapshots: { name: string; guid: string; txg: number }[]
}

export const ACTS = [
  'snapshot-all',
  'snapshot-all',
  'snapshot-one',
  'create',
  'rename',
  'rename',
  'move-below',
  'destroy',
  'prune-oldest',
  'prune-any',
  'prune-all',
  'rename-snapshot',
  'reuse-name',
  'rollback',
  'clone',
  'promote',
] as const

export type Act = readonly [(typeof ACTS)[number], number, number]

const NAMES = ['a', 'b', 'c', 'two words']

const isBelow = (name: string, parent: string) => `${name}/`.startsWith(`${parent}/`)

export class SimulatedHome {
  readonly pool = 'wd'
  readonly #datasets = new Map<string, Kept>([['wd', { snapshots: [] }]])
  /** clone -> name of its origin and the guid it was made of */
  readonly #origins = new Map<Kept, { of: Kept; guid: string }>()
  #clock = 0

  list(): readonly Dataset[] {
    return [...this.#datasets].map(([name, { snapshots }]) => ({
      name,
      type: 'filesystem',
      guid: `of ${name}`,
      createtxg: 0n,
      resumeToken: undefined,
      snapshots: snapshots.map(({ name: snapshot, guid, txg }) => ({
        name: snapshot,
        guid,
        createtxg: BigInt(txg),
      })),
    }))
  }

  #snapshot(kept: Kept, name?: string): void {
    this.#clock += 1
    const taken = kept.snapshots.some((one) => one.name === name)
    const own = name === undefined || taken ? `s${this.#clock}` : name
    kept.snapshots.push({ name: own, guid: `g${this.#clock}`, txg: this.#clock })
  }

  #pick(number: number): readonly [string, Kept] {
    return [...this.#datasets][number % this.#datasets.size]!
  }

  #freeName(number: number): string | undefined {
    const [parent] = this.#pick(number)
    const name = `${parent}/${NAMES[number % NAMES.length] ?? ''}`
    return this.#datasets.has(name) || name.split('/').length > 4 ? undefined : name
  }

  #rename(from: string, to: string): void {
    if (from === this.pool || isBelow(to, from)) return
    for (const [name, kept] of [...this.#datasets]) {
      if (!isBelow(name, from)) continue
      this.#datasets.delete(name)
      this.#datasets.set(to + name.slice(from.length), kept)
    }
  }

  /** Snapshots up to the clone's origin change their owner, as `zfs promote` does it. */
  #promote(clone: Kept): void {
    const origin = this.#origins.get(clone)
    if (origin === undefined) return
    const { of, guid } = origin
    const edge = of.snapshots.findIndex((one) => one.guid === guid)
    if (edge < 0) return
    const moved = of.snapshots.splice(0, edge + 1)
    clone.snapshots = [...moved, ...clone.snapshots.map((one) => ({ ...one, name: `${one.name}'` }))]
    this.#origins.delete(clone)
    this.#origins.set(of, { of: clone, guid })
  }

  do([act, one, other]: Act): void {
    const [name, kept] = this.#pick(one)
    const { snapshots } = kept
    const free = this.#freeName(other)
    const some = snapshots.length === 0 ? undefined : snapshots[other % snapshots.length]
    if (act === 'snapshot-all') for (const each of this.#datasets.values()) this.#snapshot(each)
    else if (act === 'snapshot-one') this.#snapshot(kept)
    else if (act === 'create' && free !== undefined) this.#datasets.set(free, { snapshots: [] })
    else if (act === 'rename' && free !== undefined) this.#rename(name, free)
    else if (act === 'move-below' && name !== this.pool && free !== undefined) {
      // makes room for a new dataset of the same name, and puts the old one below it
      this.#rename(name, `${this.pool}/aside`)
      this.#datasets.set(name, { snapshots: [] })
      this.#rename(`${this.pool}/aside`, `${name}/old`)
    } else if (act === 'destroy' && name !== this.pool) {
      for (const below of [...this.#datasets.keys()]) if (isBelow(below, name)) this.#datasets.delete(below)
    } else if (act === 'prune-oldest') snapshots.shift()
    else if (act === 'prune-any' && some !== undefined) snapshots.splice(snapshots.indexOf(some), 1)
    else if (act === 'prune-all') kept.snapshots = []
    else if (act === 'rename-snapshot' && some !== undefined) {
      this.#clock += 1
      some.name = `r${this.#clock}`
    } else if (act === 'reuse-name' && some !== undefined) {
      const { name: reused } = some
      this.#clock += 1
      some.name = `r${this.#clock}`
      this.#snapshot(kept, reused)
    } else if (act === 'rollback' && some !== undefined) {
      kept.snapshots = snapshots.slice(0, snapshots.indexOf(some) + 1)
    } else if (act === 'clone' && some !== undefined && free !== undefined) {
      const clone = { snapshots: [] }
      this.#datasets.set(free, clone)
      this.#origins.set(clone, { of: kept, guid: some.guid })
    } else if (act === 'promote') this.#promote(kept)
  }
}
