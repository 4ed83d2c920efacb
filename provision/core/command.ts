import type { ErrorCode } from './errors.ts'
import type { Secret } from './secret.ts'

/** What a known text on stderr means. The first rule that matches wins. */
export interface StderrRule {
  readonly pattern: RegExp
  readonly code: ErrorCode
  readonly message: string
  readonly hints?: readonly string[]
}

/** A command that changes nothing; its output is parsed. */
export interface Read<T> {
  readonly effect: 'read'
  readonly argv: readonly string[]
  readonly stdin?: string | Secret
  readonly parse: (stdout: string) => T
  readonly failures?: readonly StderrRule[]
}

/** A command that changes something. It has no output, so nothing can depend on one that a dry run skips. */
export interface Change {
  readonly effect: 'change'
  readonly argv: readonly string[]
  readonly stdin?: string | Secret
  readonly failures?: readonly StderrRule[]
}

export interface Reader {
  read<T>(command: Read<T>): Promise<T>
}

export interface Runner extends Reader {
  act(command: Change): Promise<void>
}
