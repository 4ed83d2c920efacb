import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ofKeys } from '../alerts/assess.ts'
import { KEY_FILES } from '../core/keys.ts'
import { parseMetadata } from '../geli/metadata.ts'
import { lastKeysBackup, listKeys, type ListedKey } from '../keys/key-folder.ts'
import { attention, broken, findingOf, ok, type Check, type Finding, type Patient } from './finding.ts'

/** The key folder. */

const troublesOf = async (
  { folder, now }: Patient,
  kind: (key: ListedKey) => boolean,
): Promise<{ readonly keys: readonly ListedKey[]; readonly finding: (well: string) => Finding }> => {
  const keys = (await listKeys(folder, now)).filter(kind)
  const expired = keys.some(({ problems }) => problems.some((text) => text.startsWith('it expired')))
  const troubles = ofKeys(keys, now)
  return { keys, finding: (well) => findingOf(troubles, expired ? 'key-rejected' : 'config', well) }
}

const keys: Check<Patient> = {
  name: 'keys',
  look: async (patient) => {
    const { finding } = await troublesOf(patient, ({ kind }) => kind !== 'certificate')
    return finding(`${patient.folder}: all there, and only yours to read`)
  },
}

const certificates: Check<Patient> = {
  name: 'certificates',
  look: async (patient) => {
    const { keys, finding } = await troublesOf(patient, ({ kind }) => kind === 'certificate')
    const ends = [...new Set(keys.map(({ certificate }) => certificate?.validBefore ?? ''))]
    return finding(`${keys.length} signed by ${KEY_FILES.ca}, valid until ${ends.join(', ')}`)
  },
}

/** as `knox keys init` makes it */
const DISK_KEY_BYTES = 1024

const diskKey: Check<Patient> = {
  name: 'disk key',
  look: async ({ folder }) => {
    const info = await stat(join(folder, KEY_FILES.disk)).catch(() => undefined)
    if (info === undefined)
      return broken('config', `${KEY_FILES.disk} is missing`, 'knox keys restore brings it back from a copy')
    return info.size === DISK_KEY_BYTES
      ? ok(`${KEY_FILES.disk}, ${info.size} bytes`)
      : attention(
          `${KEY_FILES.disk} holds ${info.size} bytes, not ${DISK_KEY_BYTES}`,
          'is it the key that the disk was prepared with? compare it with your copy',
        )
  },
}

const metadata: Check<Patient> = {
  name: 'disk metadata',
  look: async ({ folder }) => {
    const files = (await readdir(folder)).filter((name) => /^geli-metadata-.*\.bin$/.test(name))
    const [file] = files
    if (file === undefined)
      return attention(
        'there is no copy of the disk’s GELI metadata',
        'knox prepare-disk brings one home, and touches nothing on the disk; without it a damaged last sector loses all',
      )
    for (const name of files) {
      const bytes = await readFile(join(folder, name))
      try {
        parseMetadata(bytes)
      } catch {
        return attention(`${name} is damaged`, 'bring it back from your copy of the keys')
      }
    }
    return ok(files.join(', '))
  },
}

const copy: Check<Patient> = {
  name: 'copy of keys',
  look: async ({ folder }) => {
    const last = await lastKeysBackup(folder)
    return last === undefined
      ? attention(
          'the keys as they are now were never copied away',
          'knox keys backup FILE, on a USB stick for instance: without the keys the backup is noise',
        )
      : ok(`${last.file}, of ${last.madeAt}`)
  },
}

export const KEYS: readonly Check<Patient>[] = [keys, certificates, diskKey, metadata, copy]
