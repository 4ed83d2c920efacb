import * as z from 'zod'
import { EXIT_CODES, type ErrorCode } from '../core/errors.ts'

/** The lines on stderr with --json, one JSON object each: docs/events.md. */

const errorCodes = Object.keys(EXIT_CODES).filter((name) => name !== 'ok') as [ErrorCode, ...ErrorCode[]]

/** What the library reports while it works. */
export const eventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('step'), title: z.string().describe('what begins') }),
  z.strictObject({ type: z.literal('done'), title: z.string().describe('what is done') }),
  z.strictObject({ type: z.literal('note'), text: z.string() }),
  z.strictObject({
    type: z.literal('warning'),
    text: z.string().describe('what is not as it should be; the run goes on'),
    hint: z.string().optional().describe('what to do'),
  }),
  z.strictObject({
    type: z.literal('command'),
    argv: z.array(z.string()).describe('a command that is run; never holds a secret'),
    where: z.string().describe('home, or the name of the machine where it runs'),
  }),
  z.strictObject({
    type: z.literal('progress'),
    dataset: z.string(),
    bytes: z.number().describe('of this dataset’s stream so far'),
    of: z.number().optional().describe('estimated bytes of this stream, where known'),
    totalBytes: z.number().describe('of all streams of this run so far'),
    totalOf: z.number().optional().describe('estimated bytes of all streams, where known'),
    seconds: z.number().describe('since the first byte'),
  }),
])

/** The last line of a run that failed. */
export const errorSchema = z.strictObject({
  type: z.literal('error'),
  code: z.enum(errorCodes).describe('name of the exit code'),
  message: z.string(),
  hints: z.array(z.string()),
})

/** Any line on stderr. */
export const lineSchema = z.union([eventSchema, errorSchema])
