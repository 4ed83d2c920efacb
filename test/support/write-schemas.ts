import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { schemaFiles } from '../../provision/cli/schema-files.ts'

/** Writes docs/schemas anew: node --import tsx test/support/write-schemas.ts */

const folder = join(import.meta.dirname, '../../docs/schemas')
await mkdir(folder, { recursive: true })
for (const [name, text] of schemaFiles()) await writeFile(join(folder, name), text)
