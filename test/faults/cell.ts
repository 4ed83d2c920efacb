import type { Pair } from '../../provision/lab/pair.ts'
import type { Dice } from '../box/hostile-inputs.ts'
import type { Injury } from './injuries.ts'
import type { Moment } from './moments.ts'

/** One cell of the fault matrix: what goes wrong, and when; what must hold afterwards is the same for all (judge.ts). */
export interface Cell {
  readonly name: string
  /** part of `npm test` too */
  readonly quick?: true
  /** MiB of new data at home; 24 for what needs the middle of a stream */
  readonly mib?: number
  /** done before the run */
  readonly before?: Injury
  /** words of the run; `backup --prove` if there are none */
  readonly words?: readonly string[]
  /** when in the run the injury comes, and what it is */
  readonly moment?: Moment
  readonly injury?: Injury
  /** exit codes that the run may end with; if it is 0 everything must have arrived by then */
  readonly codes: readonly number[]
  /** what is put right from outside before the next plain `knox backup` */
  readonly after?: Injury
  /** the most MiB that the next run may send */
  readonly resends?: number
}

/** A cell that is no backup: an attack. It throws if the attack did any harm that it can see; the rest is judged as ever. */
export interface Attack {
  readonly name: string
  readonly quick?: true
  readonly attack: (pair: Pair, dice: Dice) => Promise<void>
}

export const isAttack = (cell: Cell | Attack): cell is Attack => 'attack' in cell
