import * as z from 'zod'
import { PLUGIN_CODES, type PluginState } from '../alerts/check.ts'
import { EXIT_CODES, type ErrorCode } from '../core/errors.ts'
import { lastRunSchema } from '../runtime/last-run.ts'
import { receiptSchema } from '../runtime/receipt.ts'
import { scrubSchema } from '../runtime/scrub.ts'
import { verifySchema } from '../runtime/verify-state.ts'

/** What each verb prints on stdout with --json: docs/events.md. A field that is not known is left out, or null. */

const texts = z.array(z.string())
const count = z.int().min(0)

const problem = z.strictObject({
  dataset: z.string(),
  kind: z.enum(['no-snapshot', 'diverged', 'deletion', 'damage']),
  message: z.string(),
  hint: z.string(),
})

const preview = z.strictObject({
  streams: z.array(
    z.strictObject({
      dataset: z.string(),
      kind: z.enum(['full', 'incremental', 'resume']),
      from: z.string().optional(),
      to: z.string(),
      bytes: z.number().optional().describe('estimated'),
      changes: z
        .array(
          z.strictObject({
            kind: z.enum(['+', '-', 'M', 'R']),
            path: z.string(),
            renamedTo: z.string().optional(),
          }),
        )
        .optional(),
    }),
  ),
  other: z.array(
    z.union([
      z.strictObject({ step: z.literal('rename'), from: z.string(), to: z.string() }),
      z.strictObject({ step: z.literal('place'), dataset: z.string() }),
    ]),
  ),
  problems: z.array(problem),
})

const backup = z.strictObject({
  outcome: z.enum(['sent', 'nothing-to-send']),
  streams: count,
  bytes: count,
  seconds: z.number(),
  delivered: count.describe('datasets that the box was seen to hold'),
  destroyed: count.describe('snapshots that the box has forgotten, since home has them no longer'),
  problems: z.array(problem),
  receipt: receiptSchema,
})

const status = z.strictObject({
  box: z.string(),
  provedAt: z.string().optional(),
  age: z.number().optional().describe('seconds since the last proof'),
  used: z.number().optional().describe('bytes on the box’s pool at the last proof'),
  available: z.number().optional(),
  trouble: z.string().optional().describe('what ZFS said of a disk that fails, at the last proof'),
  datasets: z.array(
    z.strictObject({
      dataset: z.string(),
      snapshots: count,
      home: z.string().optional().describe('newest snapshot at home'),
      box: z.string().optional().describe('newest snapshot on the box at the last proof'),
      lacks: z.string().optional().describe('oldest snapshot at home that the box does not have'),
      state: z.enum(['proved', 'behind', 'not-on-box', 'no-snapshot', 'box-only']),
    }),
  ),
  verify: verifySchema.optional(),
  scrub: scrubSchema.optional(),
  lastRun: lastRunSchema.optional(),
})

const check = z.union([
  z.strictObject({
    state: z.enum(Object.keys(PLUGIN_CODES) as [PluginState, ...PluginState[]]),
    line: z.string(),
    troubles: z.array(
      z.strictObject({ level: z.enum(['warning', 'critical']), text: z.string(), hint: z.string() }),
    ),
    status,
  }),
  z.strictObject({ state: z.literal('UNKNOWN'), line: z.string(), message: z.string() }),
])

const doctor = z.strictObject({
  links: z.array(
    z.strictObject({
      name: z.string(),
      state: z.enum(['ok', 'attention', 'broken']),
      text: z.string(),
      hint: z.string().optional(),
      code: z.enum(Object.keys(EXIT_CODES) as [ErrorCode, ...ErrorCode[]]).optional(),
    }),
  ),
})

const verify = z.strictObject({
  files: count,
  bytes: count,
  different: texts,
  covered: texts.describe('datasets of which every file was compared by now'),
  unread: texts,
})

const snapshotLine = z.strictObject({
  name: z.string(),
  guid: z.string(),
  createtxg: z.string(),
  held: z.boolean().optional(),
})

const restore = z.union([
  z
    .strictObject({
      pool: receiptSchema.shape.pool,
      datasets: z.array(
        z.strictObject({
          name: z.string(),
          type: z.enum(['filesystem', 'volume']),
          guid: z.string(),
          createtxg: z.string(),
          resumeToken: z.string().optional(),
          snapshots: z.array(snapshotLine),
        }),
      ),
    })
    .describe('--list'),
  z.strictObject({ files: texts, bytes: count }).describe('--drill'),
  z.strictObject({ snapshot: z.string(), files: count, target: z.string() }).describe('--file'),
  z.strictObject({ target: z.string(), datasets: count, snapshots: count, bytes: count }),
])

const discover = z.strictObject({ box: texts, others: texts, looked: count })
const schedule = z.strictObject({ line: z.string().nullable() })

const listedKey = z.strictObject({
  file: z.string(),
  kind: z.enum(['folder', 'private-key', 'public-key', 'certificate', 'disk-key']),
  missing: z.boolean(),
  tooOpen: z.boolean(),
  fingerprint: z.string().optional(),
  encrypted: z.boolean().optional(),
  certificate: z
    .strictObject({
      keyId: z.string(),
      serial: z.string(),
      principals: texts,
      validAfter: z.string(),
      validBefore: z.string(),
      forcedCommand: z.string().optional(),
      sourceAddress: texts,
      extensions: texts,
    })
    .optional(),
  problems: texts,
})

const certificate = z.strictObject({
  login: z.string(),
  file: z.string(),
  serial: z.string(),
  validAfter: z.string(),
  validBefore: z.string(),
  sourceAddress: texts,
})

const keys = z.union([
  z
    .strictObject({
      folder: z.string(),
      files: texts,
      replaced: z.string().optional(),
      caFingerprint: z.string(),
      hostKeyFingerprint: z.string(),
    })
    .describe('init'),
  z.strictObject({ folder: z.string(), keys: z.array(listedKey) }).describe('list'),
  z.strictObject({ folder: z.string(), certificates: z.array(certificate) }).describe('sign, renew'),
  z
    .strictObject({
      file: z.string(),
      sheet: z.string(),
      members: texts,
      commands: z.tuple([z.string(), z.string()]),
    })
    .describe('backup'),
  z.strictObject({ folder: z.string(), files: texts }).describe('restore'),
])

const prune = z.union([
  z.strictObject({ destroyed: z.array(z.unknown()), kept: count }),
  z
    .array(
      z.looseObject({ dataset: z.string(), snapshot: z.string(), keep: z.boolean(), reason: z.string() }),
    )
    .describe('--dry-run'),
])

/** By verb; those of the verbs that run every day are complete, and what a --dry-run prints is told only where it differs in use. */
export const RESULT_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  backup,
  snapback: backup,
  preview,
  status,
  check,
  doctor,
  verify,
  scrub: scrubSchema,
  restore,
  prune,
  discover,
  schedule,
  keys,
}
