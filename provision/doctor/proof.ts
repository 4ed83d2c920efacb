import {
  freePercent,
  lateDatasets,
  ofContents,
  ofLastRun,
  ofLate,
  ofProof,
  ofSpace,
  proofAge,
} from '../alerts/assess.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { status as readStatus, type Status } from '../runtime/status.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { listCreations } from '../tools/zfs.ts'
import { findingOf, ok, type Check, type Patient } from './finding.ts'

/** What the last runs have left at home. */

const statusOf = ({ config, emit, now }: Patient): Promise<Status> => readStatus(config, emit, now)

const lastRun: Check<Patient> = {
  name: 'last run',
  look: async (patient) => {
    const status = await statusOf(patient)
    if (status.lastRun === undefined) return ok('nothing is known of one')
    const { verb, ended, exit } = status.lastRun
    return findingOf(ofLastRun(status), exit === 'ok' ? 'failed' : exit, `${verb} ended well on ${ended}`)
  },
}

const proof: Check<Patient> = {
  name: 'last proof',
  look: async (patient) => {
    const status = await statusOf(patient)
    const { exit } = status.lastRun ?? {}
    const code = exit === undefined || exit === 'ok' ? 'failed' : exit
    const age = formatDuration(proofAge(status, patient.now) ?? 0)
    return findingOf(ofProof(status, patient.config.alerts['max-age'], patient.now), code, `${age} ago`)
  },
}

const datasets: Check<Patient> = {
  name: 'datasets',
  look: async (patient) => {
    const { config, emit, now } = patient
    const status = await statusOf(patient)
    const creations = await runnerAt(HERE, emit).read(listCreations(config.home.pool))
    const late = lateDatasets(status, creations, config.alerts['max-age'], now)
    const count = (state: string) => status.datasets.filter((one) => one.state === state).length
    return findingOf(
      ofLate(late),
      'partial',
      `${count('proved')} proved, ${count('behind')} with newer snapshots`,
    )
  },
}

const space: Check<Patient> = {
  name: 'box’s space',
  look: async (patient) => {
    const status = await statusOf(patient)
    const free = freePercent(status)
    const well =
      free === undefined
        ? 'not known before the first proof'
        : `${formatBytes(status.available ?? 0)} free, ${free.toFixed(0)} %`
    return findingOf(ofSpace(status), 'no-space', well)
  },
}

const contents: Check<Patient> = {
  name: 'contents',
  look: async (patient) => {
    const status = await statusOf(patient)
    const compared =
      status.verify === undefined ? 'never compared (knox verify)' : `the same at ${status.verify.at}`
    const scrubbed =
      status.scrub?.finished == null
        ? 'never scrubbed to the end (knox scrub)'
        : `scrubbed on ${status.scrub.finished}`
    return findingOf(ofContents(status), 'verification', `${compared}, ${scrubbed}`)
  },
}

export const PROOF: readonly Check<Patient>[] = [lastRun, proof, datasets, space, contents]
