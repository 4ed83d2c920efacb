import { readFile } from 'node:fs/promises'
import Handlebars from 'handlebars'
import { KnoxError, messageOf } from '../core/errors.ts'

export type TemplateValues = Readonly<Record<string, string | boolean>>

const TEMPLATES = new URL('../../templates/', import.meta.url)

/** the files are read by sh, sshd and rc: none of these has a place in a value */
const UNSAFE = /[^A-Za-z0-9 ._:/,@%+=-]/

/** Fills one template's text. A missing value, or one that could end a line or a quote, is an error of code `config`. */
export const renderText = (template: string, values: TemplateValues): string => {
  for (const [name, value] of Object.entries(values))
    if (typeof value === 'string' && UNSAFE.test(value))
      throw new KnoxError(
        'config',
        `the value of ${name} cannot stand in a file of the box: ${JSON.stringify(value)}`,
      )
  try {
    return Handlebars.compile(template, { strict: true, noEscape: true })(values)
  } catch (error) {
    throw new KnoxError('config', `a template cannot be filled: ${messageOf(error)}`, [], { cause: error })
  }
}

/** Fills templates/NAME.hbs. */
export const renderTemplate = async (name: string, values: TemplateValues): Promise<string> =>
  renderText(await readFile(new URL(`${name}.hbs`, TEMPLATES), 'utf8'), values)
