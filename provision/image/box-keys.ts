import { createHash, hkdfSync } from 'node:crypto'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES } from '../core/keys.ts'
import { Secret } from '../core/secret.ts'
import { publicKeyBlob, publicKeyLine, readPublicKeyLine } from '../keys/public-key.ts'
import { wayToKeys } from '../keys/missing-keys.ts'
import { inspectPrivateKey } from '../keys/private-key.ts'
import { readSecretFile, readTextIfAny } from '../system/files.ts'

/** The part of the key folder that goes into the box, and what follows from it: all that makes one box unlike another. */

export interface BoxKeys {
  /** the one line of /etc/ssh/knox-ca */
  readonly authority: string
  /** the one line of the host key's .pub file */
  readonly hostPublicKey: string
  /** the host key's private file, without passphrase */
  readonly hostKey: Secret
  /** the UUID of /etc/hostid */
  readonly hostUuid: string
  /** the bytes of /entropy */
  readonly entropy: Secret
}

/**
 * A UUID (RFC 9562 version 8) from the SHA-256 fingerprint of the host key: this box's own, and the same at every
 * rendering. ZFS takes a pool for another machine's when the hostid changes; rc.d/hostid wants it in lower case.
 */
export const hostUuidOf = (hostPublicKey: Buffer): string => {
  const bytes = createHash('sha256').update(publicKeyBlob(hostPublicKey)).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

const ENTROPY_BYTES = 4096

/** A seed for /dev/random, secret as long as the host key is; neither can be had from the other's leak. */
const entropyOf = (hostKey: Secret, hostUuid: string): Secret =>
  new Secret(
    'entropy',
    Buffer.from(hkdfSync('sha512', hostKey.reveal(), hostUuid, 'knox /entropy', ENTROPY_BYTES)),
  )

/** The box's keys from the texts of their files. Throws `config` if they are damaged or do not belong together. */
export const boxKeysOf = (files: {
  readonly authority: string
  readonly hostPublicKey: string
  readonly hostKey: Secret
}): BoxKeys => {
  const authority = readPublicKeyLine(files.authority, `${KEY_FILES.ca}.pub`)
  const hostPublicKey = readPublicKeyLine(files.hostPublicKey, `${KEY_FILES.hostKey}.pub`)
  const inside = inspectPrivateKey(files.hostKey, KEY_FILES.hostKey)
  if (inside.encrypted)
    throw new KnoxError('config', 'the host key has a passphrase, and nobody is at the box to type it', [
      `ssh-keygen -p -f ${KEY_FILES.hostKey} takes it away`,
    ])
  if (!inside.publicKey.equals(hostPublicKey))
    throw new KnoxError('config', `${KEY_FILES.hostKey} and ${KEY_FILES.hostKey}.pub are two different keys`)
  if (hostPublicKey.equals(authority))
    throw new KnoxError('config', 'the authority and the host key are one and the same key')
  const hostUuid = hostUuidOf(hostPublicKey)
  return {
    // written anew: one line, and no comment from elsewhere
    authority: publicKeyLine(authority, KEY_FILES.ca),
    hostPublicKey: publicKeyLine(hostPublicKey, KEY_FILES.hostKey),
    hostKey: files.hostKey,
    hostUuid,
    entropy: entropyOf(files.hostKey, hostUuid),
  }
}

/** Reads what the box gets from the key folder. Throws `config` if something is missing, damaged or open to others. */
export const readBoxKeys = async (folder: string): Promise<BoxKeys> => {
  const text = async (file: string): Promise<string> => {
    const found = await readTextIfAny(join(folder, file))
    if (found === undefined)
      throw new KnoxError('config', `the key folder lacks ${file}: ${folder}`, wayToKeys())
    return found
  }
  const authority = await text(`${KEY_FILES.ca}.pub`)
  const hostPublicKey = await text(`${KEY_FILES.hostKey}.pub`)
  await text(KEY_FILES.hostKey)
  const hostKey = await readSecretFile(join(folder, KEY_FILES.hostKey), 'host key')
  return boxKeysOf({ authority, hostPublicKey, hostKey })
}
