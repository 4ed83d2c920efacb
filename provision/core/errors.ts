/** Every way a run can end, with its exit code. The README's table is checked against this one. */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  config: 3,
  refused: 4,
  partial: 5,
  unreachable: 10,
  busy: 11,
  'key-rejected': 12,
  diverged: 13,
  verification: 14,
  platform: 15,
  'send-failed': 16,
  'receive-failed': 17,
  'no-space': 18,
  'connection-lost': 19,
  'left-unlocked': 20,
  disk: 21,
  interrupted: 130,
} as const

export type ExitName = keyof typeof EXIT_CODES
export type ErrorCode = Exclude<ExitName, 'ok'>

/**
 * A failure the owner can understand: what happened in one lower-case sentence, and hints of what to do.
 * Anything that is not a KnoxError is a bug: it ends with exit code 1 too, and with its stack.
 */
export class KnoxError extends Error {
  readonly code: ErrorCode
  readonly hints: readonly string[]

  constructor(code: ErrorCode, message: string, hints: readonly string[] = [], options?: ErrorOptions) {
    super(message, options)
    this.name = 'KnoxError'
    this.code = code
    this.hints = hints
  }
}

/** The exit code for whatever was thrown. */
export const exitCodeOf = (error: unknown): number =>
  EXIT_CODES[error instanceof KnoxError ? error.code : 'failed']

/** The sentence of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
