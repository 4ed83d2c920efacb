import { printable } from '../core/names.ts'
import type { Examined } from '../doctor/finding.ts'

/** One line a link: how it is, what it is, what there is, and what to do. */
export const describeExamined = (found: readonly Examined[]): string => {
  const width = Math.max(...found.map(({ name }) => name.length))
  return found
    .map(({ name, state, text, hint }) => {
      const more = hint === undefined || hint === '' ? '' : `  ->  ${printable(hint)}`
      return `${state.padEnd(9)}  ${name.padEnd(width)}  ${printable(text)}${more}`
    })
    .join('\n')
}
