import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { Secret } from '../core/secret.ts'
import { withTempDir } from '../system/files.ts'
import { run } from '../system/process.ts'
import { failureOf } from '../system/runner.ts'
import { shownLine } from './adopt-merge.ts'
import type { PlannedFile } from './adopt-plan.ts'

/** What adopting changes, for the owner's eyes. */

/** diff(1) -u of two texts under these labels; empty if they are the same. The words are the same on FreeBSD and Linux. */
export const unifiedDiff = (
  from: { readonly label: string; readonly text: string | Buffer },
  to: { readonly label: string; readonly text: string | Buffer },
): Promise<string> =>
  withTempDir(async (dir) => {
    const [before, after] = [join(dir, 'before'), join(dir, 'after')]
    await writeFile(before, from.text, { mode: 0o600 })
    await writeFile(after, to.text, { mode: 0o600 })
    const words = ['diff', '-a', '-u', '-L', from.label, '-L', to.label, before, after]
    const result = await run(words, { timeout: 60 })
    if (result.exitCode !== 0 && result.exitCode !== 1) throw failureOf(result, [])
    return result.stdout.replace(/\n$/, '').split('\n').map(shownLine).join('\n')
  })

const octal = (mode: number) => mode.toString(8).padStart(4, '0')

/** One file's change: a unified diff, or a line where a link or a secret is concerned. */
export const describeChange = async ({ path, mode, content, old }: PlannedFile): Promise<string> => {
  if (content instanceof Secret)
    return `${old === undefined ? 'new' : 'replaced'}: ${path} (mode ${octal(mode)}, private, not shown)`
  if (typeof content !== 'string') return `link: ${path} -> ${content.linkTo}`
  const before =
    old?.kind === 'file'
      ? { label: path, text: old.bytes }
      : { label: old?.kind === 'link' ? `${path} (a link)` : '/dev/null', text: '' }
  return unifiedDiff(before, { label: `${path} (mode ${octal(mode)})`, text: content })
}
