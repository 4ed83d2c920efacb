import * as z from 'zod'
import { lastRunSchema } from '../runtime/last-run.ts'
import { lineSchema } from './event-schema.ts'
import { RESULT_SCHEMAS } from './result-schemas.ts'

/** Fields may be added in later versions, so a reader must not refuse those it does not know. */
const open = ({ jsonSchema }: { readonly jsonSchema: { additionalProperties?: unknown } }): void => {
  if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
}

const textOf = (title: string, schema: z.ZodType): string =>
  `${JSON.stringify({ title, ...z.toJSONSchema(schema, { io: 'input', override: open }) }, null, 2)}\n`

/** The files of docs/schemas, by name. */
export const schemaFiles = (): ReadonlyMap<string, string> =>
  new Map([
    ['event.json', textOf('a line on stderr of any verb with --json', lineSchema)],
    ['last-run.json', textOf('last-run.json, and what alerts.command gets on stdin', lastRunSchema)],
    ...Object.entries(RESULT_SCHEMAS).map(
      ([verb, schema]) => [`${verb}.json`, textOf(`the result of knox ${verb} --json`, schema)] as const,
    ),
  ])
