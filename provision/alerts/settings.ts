import { parseDocument } from 'yaml'
import { alertsSchema, configSchema, type Alerts, type Config } from '../core/config.ts'
import { isName, NAMES } from '../core/names.ts'
import { findConfig, homeFolder, loadConfig } from '../system/config-file.ts'
import { readTextIfAny } from '../system/files.ts'

/** What the alarm needs to know; `config` is undefined if knox.yaml is wrong, which is itself a reason for an alarm. */
export interface Settings {
  readonly box: string
  readonly folder: string
  readonly alerts: Alerts
  readonly config: Config | undefined
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

/** Of a knox.yaml that is wrong: the alerts that are right, each by itself. */
const saved = (text: string): Settings => {
  const read = (): unknown => {
    try {
      return parseDocument(text, { logLevel: 'silent' }).toJS({ maxAliasCount: 10 })
    } catch {
      return undefined
    }
  }
  const { box, home, alerts } = record(read())
  const right = Object.entries(record(alerts)).filter(
    ([name, value]) => alertsSchema.safeParse({ [name]: value }).success,
  )
  const { name } = record(box)
  const { folder } = record(home)
  const config = configSchema.safeParse({
    box: { addresses: [], ...(typeof name === 'string' && isName(NAMES.box, name) ? { name } : {}) },
    home: { pool: 'none', ...(typeof folder === 'string' && folder.startsWith('/') ? { folder } : {}) },
    alerts: Object.fromEntries(right),
  })
  const known = config.data ?? configSchema.parse({ box: { addresses: [] }, home: { pool: 'none' } })
  return { box: known.box.name, folder: homeFolder(known), alerts: known.alerts, config: undefined }
}

/** Whom an alarm goes to; undefined if there is no knox.yaml to say it. `file` is what --config names. Never throws. */
export const readSettings = async (file: string | undefined): Promise<Settings | undefined> => {
  try {
    const config = await loadConfig(file)
    return { box: config.box.name, folder: homeFolder(config), alerts: config.alerts, config }
  } catch {
    try {
      const path = await findConfig(file)
      const text = path === undefined ? undefined : await readTextIfAny(path)
      return text === undefined ? undefined : saved(text)
    } catch {
      return undefined
    }
  }
}
