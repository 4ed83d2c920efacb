import { resolve } from 'node:path'
import type { ErrorCode } from '../core/errors.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { findConfig, homeFolder, loadConfig } from '../system/config-file.ts'
import { boxChecks, withBox } from './box.ts'
import { brokenBy, type Check, type Examined, type Patient } from './finding.ts'
import { HOME } from './home.ts'
import { KEYS } from './keys.ts'
import { PROGRAMS } from './programs.ts'
import { PROOF } from './proof.ts'

export interface ExamineOptions {
  /** what --config names */
  readonly configPath: string | undefined
  /** what a crontab runs */
  readonly script: string
  readonly emit: Emit
  readonly now: Date
}

const examineAll = async <T>(checks: readonly Check<T>[], patient: T): Promise<readonly Examined[]> => {
  const found: Examined[] = []
  // one after the other: what is said of a slow link must not depend on the others
  for (const { name, look } of checks)
    found.push({ name, ...(await look(patient).catch((error: unknown) => brokenBy(error))) })
  return found
}

const patientOf = async ({ configPath, ...rest }: ExamineOptions): Promise<Patient> => {
  const config = await loadConfig(configPath)
  const path = await findConfig(configPath)
  if (path === undefined) throw new KnoxError('config', 'knox.yaml is gone')
  return { ...rest, config, configPath: resolve(path), folder: homeFolder(config) }
}

/** Looks at every link of the chain, from the programs at home to the box's disk; changes nothing. Never throws. */
export const examine = async (options: ExamineOptions): Promise<readonly Examined[]> => {
  const programs = await examineAll(PROGRAMS, undefined)
  try {
    const patient = await patientOf(options)
    const home = await examineAll([...KEYS, ...HOME], patient)
    options.emit({ type: 'step', title: `calling the box ${patient.config.box.name}` })
    const box = await withBox(patient, (caller) => examineAll(boxChecks(caller), caller)).catch(
      (error: unknown): readonly Examined[] => [{ name: 'box', ...brokenBy(error) }],
    )
    const proof = await examineAll(PROOF, patient)
    const yaml: Examined = { name: 'knox.yaml', state: 'ok', text: patient.configPath }
    return [...programs, yaml, ...home, ...box, ...proof]
  } catch (error) {
    return [...programs, { name: 'knox.yaml', ...brokenBy(error) }]
  }
}

/** What the doctor ends with: the code of the first link that is broken; undefined if none is. */
export const codeOf = (found: readonly Examined[]): ErrorCode | undefined =>
  found.find(({ state }) => state === 'broken')?.code
