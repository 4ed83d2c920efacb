import type { Config } from '../core/config.ts'
import { KnoxError, messageOf, type ErrorCode } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Trouble } from '../alerts/assess.ts'

/** What one look has found. */
export interface Finding {
  readonly state: 'ok' | 'attention' | 'broken'
  /** what there is, in a sentence */
  readonly text: string
  /** what to do; none where all is well */
  readonly hint?: string
  /** of a broken one: what a run would end with */
  readonly code?: ErrorCode
}

/** What a look may look at. */
export interface Patient {
  readonly config: Config
  /** absolute */
  readonly configPath: string
  /** the key folder */
  readonly folder: string
  /** what a crontab runs: scripts/knox.mjs */
  readonly script: string
  readonly emit: Emit
  readonly now: Date
}

/** One link of the chain. A look changes nothing; what it throws is a broken link. */
export interface Check<T> {
  readonly name: string
  readonly look: (patient: T) => Promise<Finding>
}

export interface Examined extends Finding {
  readonly name: string
}

export const ok = (text: string): Finding => ({ state: 'ok', text })
export const attention = (text: string, hint: string): Finding => ({ state: 'attention', text, hint })
export const broken = (code: ErrorCode, text: string, hint: string): Finding => ({
  state: 'broken',
  text,
  hint,
  code,
})

/** The finding for whatever was thrown. */
export const brokenBy = (error: unknown): Finding =>
  error instanceof KnoxError
    ? broken(error.code, error.message, error.hints.join('; '))
    : broken('failed', messageOf(error), 'this is a bug in knox; please report it')

/** Troubles as one finding; `well` is the sentence if there are none. */
export const findingOf = (troubles: readonly Trouble[], code: ErrorCode, well: string): Finding => {
  const worst = troubles.find(({ level }) => level === 'critical') ?? troubles[0]
  if (worst === undefined) return ok(well)
  const text = [worst, ...troubles.filter((one) => one !== worst)].map((one) => one.text).join('; ')
  return worst.level === 'critical' ? broken(code, text, worst.hint) : attention(text, worst.hint)
}
