import { join } from 'node:path'
import { KEY_FILES, LOGINS } from '../core/keys.ts'
import { readTextIfAny } from '../system/files.ts'
import { parseCertificate } from './certificate.ts'
import { fingerprint, parsePublicKeyLine } from './ed25519.ts'

export interface ListedKey {
  readonly file: string
  readonly kind: 'authority' | 'host key' | 'login'
  readonly fingerprint: string
  readonly certificate:
    | {
        readonly serial: string
        readonly keyId: string
        readonly principals: readonly string[]
        /** ISO 8601, or undefined for ever */
        readonly validUntil: string | undefined
        readonly forcedCommand: string | undefined
        readonly sourceAddress: string | undefined
      }
    | undefined
}

/** The public side of every key in the folder; missing ones are left out. Throws `config` for a damaged file. */
export const listKeys = async (folder: string): Promise<readonly ListedKey[]> => {
  const kinds = [
    [KEY_FILES.ca, 'authority'],
    [KEY_FILES.hostKey, 'host key'],
    ...LOGINS.map((login) => [login, 'login'] as const),
  ] as const
  const keys: ListedKey[] = []
  for (const [file, kind] of kinds) {
    const line = await readTextIfAny(join(folder, `${file}.pub`))
    if (line === undefined) continue
    const signed = await readTextIfAny(join(folder, `${file}-cert.pub`))
    const certificate = signed === undefined ? undefined : parseCertificate(signed)
    keys.push({
      file,
      kind,
      fingerprint: fingerprint(parsePublicKeyLine(line)),
      certificate:
        certificate === undefined
          ? undefined
          : {
              serial: certificate.serial.toString(),
              keyId: certificate.keyId,
              principals: certificate.principals,
              validUntil: certificate.validUntil?.toISOString(),
              forcedCommand: certificate.forcedCommand,
              sourceAddress: certificate.sourceAddress,
            },
    })
  }
  return keys
}
