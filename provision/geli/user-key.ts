import { createHmac, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { KnoxError } from '../core/errors.ts'
import type { Metadata } from './metadata.ts'

/** What an owner unlocks with; the buffers stay the caller's, who wipes them. */
export interface Credentials {
  /** whole contents, in the order of -k */
  readonly keyFiles?: readonly Buffer[] | undefined
  /** the bytes as typed, without a newline */
  readonly passphrase?: Buffer | undefined
}

const MOST_PASSPHRASE_BYTES = 1023
const derive = promisify(pbkdf2)

const upTo = (bytes: Buffer, end: number): Buffer => {
  const at = bytes.indexOf(end)
  return at === -1 ? bytes : bytes.subarray(0, at)
}

/** A passphrase from passfiles (-j): the first line of each, joined. The result is new: the caller wipes it. */
export const joinPassfiles = (files: readonly Buffer[]): Buffer =>
  Buffer.concat(files.map((file) => upTo(upTo(file, 0x0a), 0)))

/** What of a passphrase geli(8) sees: a C string in a buffer of 1024 bytes. */
const effective = (passphrase: Buffer): Buffer => {
  const seen = upTo(passphrase, 0)
  if (seen.length > MOST_PASSPHRASE_BYTES)
    throw new KnoxError('usage', `the passphrase is longer than ${MOST_PASSPHRASE_BYTES} bytes`)
  return seen
}

type Salted = Pick<Metadata, 'salt' | 'iterations'>

const stretch = async ({ salt, iterations }: Salted, passphrase: Buffer): Promise<Buffer> => {
  if (iterations === -1)
    throw new KnoxError('key-rejected', 'this provider was made without a passphrase', [
      'leave the passphrase away',
    ])
  if (iterations < 0)
    throw new KnoxError('verification', `the GELI metadata is damaged: ${iterations} iterations cannot be`)
  return iterations === 0
    ? Buffer.concat([salt, passphrase])
    : derive(passphrase, salt, iterations, 64, 'sha512')
}

/**
 * The user key, 64 bytes; the caller wipes it. The passphrase part is used if and only if a passphrase is given:
 * one provider may have a slot with and a slot without.
 * Throws `usage` without any credential, `key-rejected` for a passphrase where none can be.
 */
export const userKey = async (
  metadata: Salted,
  { keyFiles = [], passphrase }: Credentials,
): Promise<Buffer> => {
  if (keyFiles.length === 0 && passphrase === undefined)
    throw new KnoxError('usage', 'neither a key file nor a passphrase is given')
  const part = passphrase === undefined ? Buffer.alloc(0) : await stretch(metadata, effective(passphrase))
  try {
    const hmac = createHmac('sha512', '')
    for (const file of keyFiles) hmac.update(file)
    return hmac.update(part).digest()
  } finally {
    part.fill(0)
  }
}
