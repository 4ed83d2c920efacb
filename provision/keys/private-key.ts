import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import bcrypt from 'bcrypt-pbkdf'
import { KnoxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { keyPairOf, type KeyPair } from './ed25519.ts'
import { KEY_TYPE, publicKeyBlob, readPublicKeyBlob } from './public-key.ts'
import { damaged, decodeBase64, encodeString, encodeUint32, readWire } from './wire.ts'

/** OpenSSH's private key file (PROTOCOL.key): one Ed25519 key, in the clear or under a passphrase. */

export interface PrivateKey extends KeyPair {
  readonly comment: string
}

const MAGIC = Buffer.from('openssh-key-v1\0')
const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----'
const END = '-----END OPENSSH PRIVATE KEY-----'
const COLUMNS = 70
const CIPHER = 'aes256-ctr'
const KDF = 'bcrypt'
/** what ssh-keygen uses since OpenSSH 9.4 */
const ROUNDS = 24
/** a damaged file must not keep the machine busy for days */
const MOST_ROUNDS = 1024
const SALT_LENGTH = 16
const CIPHER_BLOCK = 16
const PLAIN_BLOCK = 8

interface Protection {
  readonly salt: Buffer
  readonly rounds: number
}

interface Envelope {
  readonly publicKey: Buffer
  /** undefined: the private part is in the clear */
  readonly protection: Protection | undefined
  readonly body: Buffer
}

/** Cipher key and IV from a passphrase, as bcrypt_pbkdf(3) makes them. */
const deriveKey = (passphrase: Secret, { salt, rounds }: Protection): { key: Buffer; iv: Buffer } => {
  const bytes = passphrase.reveal()
  const derived = Buffer.alloc(48)
  if (bcrypt.pbkdf(bytes, bytes.length, salt, salt.length, derived, derived.length, rounds) !== 0)
    throw new KnoxError('key-rejected', 'the passphrase is empty')
  return { key: derived.subarray(0, 32), iv: derived.subarray(32) }
}

const paddingOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => index + 1))

/**
 * The text of a private key file, encrypted if there is a passphrase (aes256-ctr, bcrypt).
 * Throws `key-rejected` for an empty passphrase.
 */
export const writePrivateKey = (key: PrivateKey, passphrase?: Secret): Secret => {
  const check = randomBytes(4)
  const block = passphrase === undefined ? PLAIN_BLOCK : CIPHER_BLOCK
  const content = Buffer.concat([
    check,
    check,
    encodeString(KEY_TYPE),
    encodeString(key.publicKey),
    encodeString(key.privateKey.reveal()),
    encodeString(key.comment),
  ])
  const plain = Buffer.concat([content, paddingOf((block - (content.length % block)) % block)])
  const envelope = (cipher: string, kdf: string, options: Buffer, body: Buffer) =>
    Buffer.concat([
      MAGIC,
      ...[cipher, kdf, options].map(encodeString),
      encodeUint32(1),
      encodeString(publicKeyBlob(key.publicKey)),
      encodeString(body),
    ])
  if (passphrase === undefined) return armor(envelope('none', 'none', Buffer.alloc(0), plain))

  const protection = { salt: randomBytes(SALT_LENGTH), rounds: ROUNDS }
  const { key: secret, iv } = deriveKey(passphrase, protection)
  const body = createCipheriv('aes-256-ctr', secret, iv).update(plain)
  const options = Buffer.concat([encodeString(protection.salt), encodeUint32(protection.rounds)])
  return armor(envelope(CIPHER, KDF, options, body))
}

const armor = (bytes: Buffer): Secret => {
  const lines = bytes.toString('base64').match(new RegExp(`.{1,${COLUMNS}}`, 'g')) ?? []
  return new Secret('private key file', [BEGIN, ...lines, END, ''].join('\n'))
}

const unarmor = (file: Secret, what: string): Buffer => {
  const lines = file.reveal().toString('latin1').trim().split(/\r?\n/)
  if (lines[0] !== BEGIN || lines.at(-1) !== END) throw damaged(what, 'it is not an OpenSSH private key')
  return decodeBase64(lines.slice(1, -1).join(''), what)
}

const readProtection = (
  cipher: string,
  kdf: string,
  options: Buffer,
  what: string,
): Protection | undefined => {
  if (cipher === 'none' && kdf === 'none') {
    if (options.length > 0) throw damaged(what, 'a key in the clear has options of a passphrase')
    return undefined
  }
  if (cipher !== CIPHER || kdf !== KDF)
    throw new KnoxError('config', `${what} is encrypted in a way knox does not read`, [
      `ssh-keygen -p -Z ${CIPHER} -f FILE encrypts it anew`,
    ])
  const reader = readWire(options, what)
  const protection = { salt: reader.string(), rounds: reader.uint32() }
  reader.end()
  if (protection.salt.length === 0 || protection.rounds < 1 || protection.rounds > MOST_ROUNDS)
    throw damaged(what, `its number of rounds is not 1 to ${MOST_ROUNDS}, or its salt is empty`)
  return protection
}

const readEnvelope = (file: Secret, what: string): Envelope => {
  const reader = readWire(unarmor(file, what), what)
  if (!reader.bytes(MAGIC.length).equals(MAGIC)) throw damaged(what, 'it is not an OpenSSH private key')
  const [cipher, kdf] = [reader.string().toString('latin1'), reader.string().toString('latin1')]
  const protection = readProtection(cipher, kdf, reader.string(), what)
  if (reader.uint32() !== 1) throw damaged(what, 'it does not hold exactly one key')
  const publicKey = readPublicKeyBlob(reader.string(), what)
  const body = reader.string()
  reader.end()
  const block = protection === undefined ? PLAIN_BLOCK : CIPHER_BLOCK
  if (body.length === 0 || body.length % block !== 0) throw damaged(what, 'its private part is cut off')
  return { publicKey, protection, body }
}

/** What a private key file shows without its passphrase; throws `config` if it is damaged. */
export const inspectPrivateKey = (file: Secret, what: string): { publicKey: Buffer; encrypted: boolean } => {
  const { publicKey, protection } = readEnvelope(file, what)
  return { publicKey, encrypted: protection !== undefined }
}

const decrypt = (
  body: Buffer,
  protection: Protection,
  passphrase: Secret | undefined,
  what: string,
): Buffer => {
  if (passphrase === undefined) throw new KnoxError('key-rejected', `${what} needs a passphrase`)
  const { key, iv } = deriveKey(passphrase, protection)
  return createDecipheriv('aes-256-ctr', key, iv).update(body)
}

/**
 * Reads a private key file; a passphrase is not looked at where the file is in the clear.
 * Throws `key-rejected` for a wrong or missing passphrase, `config` for a damaged file. `what` names it in errors.
 */
export const readPrivateKey = (file: Secret, what: string, passphrase?: Secret): PrivateKey => {
  const { publicKey, protection, body } = readEnvelope(file, what)
  const reader = readWire(protection === undefined ? body : decrypt(body, protection, passphrase, what), what)
  if (reader.uint32() !== reader.uint32())
    throw protection === undefined
      ? damaged(what, 'its two check numbers differ')
      : new KnoxError('key-rejected', `the passphrase does not open ${what}`)
  if (reader.string().toString('latin1') !== KEY_TYPE) throw damaged(what, `its key is not ${KEY_TYPE}`)
  const inner = reader.string()
  const pair = keyPairOf(reader.string(), what)
  const comment = reader.string().toString()
  if (!inner.equals(publicKey) || !pair.publicKey.equals(publicKey))
    throw damaged(what, 'its private and public parts do not belong together')
  const padding = reader.bytes(reader.left())
  if (!padding.equals(paddingOf(padding.length))) throw damaged(what, 'its padding is not valid')
  return { ...pair, comment }
}
