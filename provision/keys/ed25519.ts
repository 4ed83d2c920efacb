import { createHash, randomBytes } from 'node:crypto'
import ed25519 from 'node-forge/lib/ed25519.js'
import { Secret } from '../core/secret.ts'
import { damaged, decodeBase64, encodeString, readWire } from './wire.ts'

/** Ed25519 (RFC 8032) by node-forge, in the forms of OpenSSH (RFC 8709). */

export const KEY_TYPE = 'ssh-ed25519'
export const PUBLIC_LENGTH = 32
export const PRIVATE_LENGTH = 64
const SEED_LENGTH = 32
const SIGNATURE_LENGTH = 64

export interface KeyPair {
  readonly publicKey: Buffer
  /** 64 bytes: the seed, then the public key, as OpenSSH stores it */
  readonly privateKey: Secret
}

/** A key pair from a seed of 32 bytes, by default from the system's random source. */
export const makeKeyPair = (seed: Buffer = randomBytes(SEED_LENGTH)): KeyPair => {
  const { publicKey, privateKey } = ed25519.generateKeyPair({ seed })
  return {
    publicKey: Buffer.from(publicKey),
    privateKey: new Secret('private key', Buffer.from(privateKey)),
  }
}

/** The key pair of a stored private key; throws `config` if its two halves do not belong together. */
export const keyPairOf = (privateKey: Buffer, what: string): KeyPair => {
  if (privateKey.length !== PRIVATE_LENGTH) throw damaged(what, 'its private key has the wrong length')
  const pair = makeKeyPair(privateKey.subarray(0, SEED_LENGTH))
  if (!pair.privateKey.reveal().equals(privateKey))
    throw damaged(what, 'its private and public parts do not belong together')
  return pair
}

/** The signature of a message, 64 bytes. */
export const sign = ({ privateKey }: KeyPair, message: Buffer): Buffer =>
  Buffer.from(ed25519.sign({ message, privateKey: privateKey.reveal() }))

/** True if the signature is the key's own over the message; never throws. */
export const verify = (publicKey: Buffer, message: Buffer, signature: Buffer): boolean =>
  publicKey.length === PUBLIC_LENGTH &&
  signature.length === SIGNATURE_LENGTH &&
  ed25519.verify({ message, signature, publicKey })

/** A public key on the wire: its type, then its bytes. */
export const publicKeyBlob = (publicKey: Buffer): Buffer =>
  Buffer.concat([encodeString(KEY_TYPE), encodeString(publicKey)])

/** Reads a public key from the wire; throws `config` for another type or length. */
export const readPublicKeyBlob = (blob: Buffer, what: string): Buffer => {
  const reader = readWire(blob, what)
  if (reader.string().toString('latin1') !== KEY_TYPE) throw damaged(what, `its key is not ${KEY_TYPE}`)
  const publicKey = reader.string()
  reader.end()
  if (publicKey.length !== PUBLIC_LENGTH) throw damaged(what, 'its public key has the wrong length')
  return publicKey
}

/** The line of a .pub file: type, base64, comment; with a newline. */
export const publicKeyLine = (publicKey: Buffer, comment: string): string =>
  `${KEY_TYPE} ${publicKeyBlob(publicKey).toString('base64')} ${comment}\n`

/** The bytes in the one line of a .pub file, whose first word must be `type`; throws `config` otherwise. */
export const readLine = (text: string, type: string, what: string): Buffer => {
  const [first, base64 = ''] = text.replace(/\r?\n$/, '').split(' ')
  if (first !== type) throw damaged(what, `it does not begin with ${type}`)
  return decodeBase64(base64, what)
}

/** The public key in a .pub file; throws `config` if it holds anything else. */
export const readPublicKeyLine = (text: string, what: string): Buffer =>
  readPublicKeyBlob(readLine(text, KEY_TYPE, what), what)

/** The fingerprint as `ssh-keygen -l` prints it: SHA256 in base64 without padding. */
export const fingerprint = (publicKey: Buffer): string =>
  `SHA256:${createHash('sha256').update(publicKeyBlob(publicKey)).digest('base64').replace(/=+$/, '')}`
