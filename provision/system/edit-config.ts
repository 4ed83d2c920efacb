import { readFile, stat } from 'node:fs/promises'
import { parseDocument, type Document } from 'yaml'
import { parseConfig } from './config-file.ts'
import { writeFileAtomic } from './files.ts'

type Edit = (document: Document) => void

/**
 * The text of a knox.yaml with a change; what the owner wrote into it stays, comments too. Throws `config` if it would not be
 * one that knox reads; the file name is only used in messages.
 */
export const editText = (text: string, file: string, edit: Edit): string => {
  const document: Document = parseDocument(text)
  edit(document)
  const edited = document.toString({ lineWidth: 0 })
  parseConfig(edited, file)
  return edited
}

/** Changes knox.yaml as `editText` does, and throws what it throws; the file is replaced in one step, and keeps its mode. */
export const editConfig = async (path: string, edit: Edit): Promise<void> => {
  const text = editText(await readFile(path, 'utf8'), path, edit)
  const { mode } = await stat(path)
  await writeFileAtomic(path, text, { mode: mode & 0o777, replace: true })
}

/** Puts an address of the box first; one that stands there already moves. */
export const putAddressFirst =
  (address: string): Edit =>
  (document) => {
    const path = ['box', 'addresses']
    const known: unknown = document.toJS()
    const before = (known as { box?: { addresses?: readonly string[] } }).box?.addresses ?? []
    const node = document.createNode([address, ...before.filter((one) => one !== address)])
    node.flow = true
    document.setIn(path, node)
  }

/** Names the folder of keys and receipts. */
export const putKeyFolder =
  (folder: string): Edit =>
  (document) =>
    document.setIn(['home', 'folder'], folder)
