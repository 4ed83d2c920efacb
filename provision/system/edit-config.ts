import { readFile, stat } from 'node:fs/promises'
import { parseDocument, type Document } from 'yaml'
import { parseConfig } from './config-file.ts'
import { writeFileAtomic } from './files.ts'

/**
 * Changes knox.yaml and keeps what the owner wrote into it, comments too. The result is checked before it replaces the
 * file, which keeps its mode. Throws `config` if it would not be one that knox reads.
 */
export const editConfig = async (path: string, edit: (document: Document) => void): Promise<void> => {
  const document: Document = parseDocument(await readFile(path, 'utf8'))
  edit(document)
  const text = document.toString({ lineWidth: 0 })
  parseConfig(text, path)
  const { mode } = await stat(path)
  await writeFileAtomic(path, text, { mode: mode & 0o777, replace: true })
}

/** Puts an address of the box first; one that stands there already moves. */
export const putAddressFirst =
  (address: string) =>
  (document: Document): void => {
    const path = ['box', 'addresses']
    const known: unknown = document.toJS()
    const before = (known as { box?: { addresses?: readonly string[] } }).box?.addresses ?? []
    const node = document.createNode([address, ...before.filter((one) => one !== address)])
    node.flow = true
    document.setIn(path, node)
  }
