import { createHash } from 'node:crypto'
import { damaged, decodeBase64, encodeString, readWire } from './wire.ts'

/** Ed25519's public keys in the forms of OpenSSH (RFC 8709): to read one needs no cryptography. */

export const KEY_TYPE = 'ssh-ed25519'
export const PUBLIC_LENGTH = 32

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
