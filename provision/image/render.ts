import { readdir, readFile } from 'node:fs/promises'
import Handlebars from 'handlebars'
import { KnoxError, messageOf } from '../core/errors.ts'

export type TemplateValue = string | boolean | readonly string[]
export type TemplateValues = Readonly<Record<string, TemplateValue>>

/** Texts of the templates by name: `fstab` is templates/fstab.hbs. */
export type Templates = ReadonlyMap<string, string>

const FOLDER = new URL('../../templates/', import.meta.url)
const SUFFIX = '.hbs'

/** Reads every file of templates/. */
export const readTemplates = async (): Promise<Templates> => {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith(SUFFIX)).sort()
  const read = async (file: string) =>
    [file.slice(0, -SUFFIX.length), await readFile(new URL(file, FOLDER), 'utf8')] as const
  return new Map(await Promise.all(files.map(read)))
}

/** The files are read by sh, rc, sshd and the loader: a quote, a control character, `$` or `;` has no place in a value. */
const HARMLESS = /^[A-Za-z0-9 ._:/,@-]+$/

const refuseHarm = (name: string, value: TemplateValue): void => {
  for (const text of typeof value === 'object' ? value : [value])
    if (typeof text === 'string' && !HARMLESS.test(text))
      throw new KnoxError(
        'config',
        `the value of ${name} cannot stand in a file of the box: ${JSON.stringify(text)}`,
        ['letters, digits, blanks and . _ : / , @ - can'],
      )
}

/** Values that throw when asked for one they lack: Handlebars' own strict mode lets `{{#if missing}}` pass. */
const guarded = (values: TemplateValues): TemplateValues => {
  const mustHave = (name: string | symbol): void => {
    if (!Object.hasOwn(values, name)) throw new Error(`there is no value ${String(name)}`)
  }
  return new Proxy(values, {
    has: (_, name) => {
      mustHave(name)
      return true
    },
    get: (_, name) => {
      mustHave(name)
      return Reflect.get(values, name) as unknown
    },
  })
}

/**
 * Fills a template's text. Throws `config` if it asks for a value that is missing, or if a value holds a quote,
 * a control character or anything else that could mean something to the programs that read the result.
 */
export const renderText = (template: string, values: TemplateValues): string => {
  for (const [name, value] of Object.entries(values)) refuseHarm(name, value)
  try {
    return Handlebars.compile(template, { strict: true, noEscape: true })(guarded(values))
  } catch (error) {
    throw new KnoxError('config', `a template cannot be filled: ${messageOf(error)}`, [], { cause: error })
  }
}

/** Fills one of the templates; throws `config` as renderText does, or if there is none of that name. */
export const renderTemplate = (templates: Templates, name: string, values: TemplateValues): string => {
  const text = templates.get(name)
  if (text === undefined) throw new KnoxError('config', `there is no template ${name}${SUFFIX}`)
  return renderText(text, values)
}
