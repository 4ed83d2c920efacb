import { createHash, randomBytes } from 'node:crypto'
import forge from 'node-forge'
import { KnoxError } from '../core/errors.ts'
import { readWire, string } from './wire.ts'

// @types/node-forge knows pki.ed25519 only in part
const ed25519 = forge.pki.ed25519 as unknown as {
  generateKeyPair(options: { seed: Uint8Array }): { publicKey: Uint8Array; privateKey: Uint8Array }
  sign(options: { message: Uint8Array; privateKey: Uint8Array }): Uint8Array
  verify(options: { message: Uint8Array; signature: Uint8Array; publicKey: Uint8Array }): boolean
}

export const KEY_TYPE = 'ssh-ed25519'

export interface KeyPair {
  /** 32 bytes */
  readonly publicKey: Buffer
  /** 64 bytes: seed and public key, as OpenSSH keeps it */
  readonly privateKey: Buffer
}

/** A new Ed25519 key pair from the system's random numbers. */
export const generateKeyPair = (): KeyPair => {
  const { publicKey, privateKey } = ed25519.generateKeyPair({ seed: randomBytes(32) })
  return { publicKey: Buffer.from(publicKey), privateKey: Buffer.from(privateKey) }
}

/** 64 bytes of signature over the message. */
export const sign = (message: Buffer, privateKey: Buffer): Buffer =>
  Buffer.from(ed25519.sign({ message, privateKey }))

export const verify = (message: Buffer, signature: Buffer, publicKey: Buffer): boolean =>
  signature.length === 64 && ed25519.verify({ message, signature, publicKey })

/** The public key as it is on the wire (RFC 8709). */
export const publicKeyBlob = (publicKey: Buffer): Buffer =>
  Buffer.concat([string(KEY_TYPE), string(publicKey)])

/** One line as in a .pub file. */
export const publicKeyLine = (publicKey: Buffer, comment: string): string =>
  `${KEY_TYPE} ${publicKeyBlob(publicKey).toString('base64')} ${comment}\n`

/** The key of a .pub line. Throws `config` if it is not an Ed25519 key. */
export const parsePublicKeyLine = (line: string): Buffer => {
  const [type, base64 = ''] = line.trim().split(/\s+/)
  const reader = readWire(Buffer.from(base64, 'base64'))
  if (type !== KEY_TYPE || reader.string().toString() !== KEY_TYPE)
    throw new KnoxError('config', 'a public key file does not hold an ed25519 key')
  return Buffer.from(reader.string())
}

/** SHA256:... as ssh-keygen -l prints it. */
export const fingerprint = (publicKey: Buffer): string =>
  `SHA256:${createHash('sha256').update(publicKeyBlob(publicKey)).digest('base64').replace(/=+$/, '')}`
