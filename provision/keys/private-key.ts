import bcrypt from 'bcrypt-pbkdf'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { KnoxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { KEY_TYPE, publicKeyBlob, type KeyPair } from './ed25519.ts'
import { readWire, string, uint32 } from './wire.ts'

/** OpenSSH's own private key files (PROTOCOL.key of OpenSSH): plain, or aes256-ctr with a key from bcrypt_pbkdf. */

const MAGIC = Buffer.from('openssh-key-v1\0')
const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----'
const END = '-----END OPENSSH PRIVATE KEY-----'

/** as ssh-keygen since OpenSSH 9.4; older ones read it as well */
const ROUNDS = 24
const SALT_BYTES = 16
const CIPHER_BLOCK = 16
const PLAIN_BLOCK = 8

const deriveKey = (passphrase: Secret, salt: Buffer, rounds: number): { key: Buffer; iv: Buffer } => {
  const pass = passphrase.reveal()
  const bytes = Buffer.alloc(48)
  if (bcrypt.pbkdf(pass, pass.length, salt, salt.length, bytes, bytes.length, rounds) !== 0)
    throw new KnoxError('key-rejected', 'no key can be derived from this passphrase', ['is it empty?'])
  return { key: bytes.subarray(0, 32), iv: bytes.subarray(32) }
}

const pad = (body: Buffer, block: number): Buffer => {
  const length = (block - (body.length % block)) % block
  return Buffer.concat([body, Buffer.from(Array.from({ length }, (_, index) => index + 1))])
}

const armour = (bytes: Buffer): string =>
  `${BEGIN}\n${(bytes.toString('base64').match(/.{1,70}/g) ?? []).join('\n')}\n${END}\n`

/** The text of a private key file; encrypted if a passphrase is given. */
export const writePrivateKey = (pair: KeyPair, comment: string, passphrase?: Secret): Secret => {
  const check = randomBytes(4)
  const body = Buffer.concat([
    check,
    check,
    string(KEY_TYPE),
    string(pair.publicKey),
    string(pair.privateKey),
    string(comment),
  ])
  const head = (cipher: string, kdf: string, options: Buffer) =>
    Buffer.concat([
      MAGIC,
      string(cipher),
      string(kdf),
      string(options),
      uint32(1),
      string(publicKeyBlob(pair.publicKey)),
    ])
  if (passphrase === undefined)
    return new Secret(
      comment,
      armour(Buffer.concat([head('none', 'none', Buffer.alloc(0)), string(pad(body, PLAIN_BLOCK))])),
    )
  const salt = randomBytes(SALT_BYTES)
  const { key, iv } = deriveKey(passphrase, salt, ROUNDS)
  const cipher = createCipheriv('aes-256-ctr', key, iv)
  const encrypted = Buffer.concat([cipher.update(pad(body, CIPHER_BLOCK)), cipher.final()])
  const options = Buffer.concat([string(salt), uint32(ROUNDS)])
  return new Secret(
    comment,
    armour(Buffer.concat([head('aes256-ctr', 'bcrypt', options), string(encrypted)])),
  )
}

const broken = (what: string): KnoxError =>
  new KnoxError('config', `a private key file cannot be read: ${what}`)

/**
 * Reads a private key file as written above or by ssh-keygen -t ed25519.
 * Throws `key-rejected` for a wrong passphrase, `config` for a file that is no such key.
 */
export const readPrivateKey = (text: Secret, passphrase?: Secret): KeyPair & { readonly comment: string } => {
  const armoured = text.reveal().toString('latin1')
  const base64 = armoured.split(BEGIN)[1]?.split(END)[0]
  if (base64 === undefined) throw broken('it is not in OpenSSH’s format')
  const bytes = Buffer.from(base64, 'base64')
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw broken('it is not in OpenSSH’s format')
  const reader = readWire(bytes.subarray(MAGIC.length))
  const cipher = reader.string().toString()
  const kdf = reader.string().toString()
  const options = readWire(Buffer.from(reader.string()))
  if (reader.uint32() !== 1) throw broken('it does not hold one key')
  reader.string()
  const sealed = reader.string()
  const open = (): Buffer => {
    if (cipher === 'none') return sealed
    if (cipher !== 'aes256-ctr' || kdf !== 'bcrypt') throw broken(`cipher ${cipher}`)
    if (passphrase === undefined) throw new KnoxError('key-rejected', 'the private key needs a passphrase')
    const salt = Buffer.from(options.string())
    const rounds = options.uint32()
    if (rounds > 1000) throw broken('too many rounds')
    const { key, iv } = deriveKey(passphrase, salt, rounds)
    const decipher = createDecipheriv('aes-256-ctr', key, iv)
    return Buffer.concat([decipher.update(sealed), decipher.final()])
  }
  const body = readWire(open())
  if (body.uint32() !== body.uint32())
    throw new KnoxError('key-rejected', 'the passphrase is wrong', ['it is the one given to knox keys init'])
  if (body.string().toString() !== KEY_TYPE) throw broken('it is not an ed25519 key')
  const publicKey = Buffer.from(body.string())
  const privateKey = Buffer.from(body.string())
  if (publicKey.length !== 32 || privateKey.length !== 64) throw broken('its lengths are wrong')
  return { publicKey, privateKey, comment: body.string().toString() }
}
