import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import { KnoxError } from '../core/errors.ts'
import { quote } from '../core/quote.ts'
import type { Secret } from '../core/secret.ts'
import { packUstar, unpackUstar } from './ustar.ts'

/**
 * One encrypted file that openssl(1) and tar(1) of any machine open. openssl's `enc` knows no authenticated cipher, so it is
 * encrypt-then-MAC: an archive of `data` (as `openssl enc` writes it), of a random `mac-key` encrypted in the same way, and
 * of `mac`, the HMAC-SHA256 of `data` with it. The passphrase can be guessed only through PBKDF2, from either of the two.
 * `openssl enc -pbkdf2` is in OpenSSL 1.1.1 (FreeBSD 12, Debian 10) and LibreSSL 3.
 */

const ITERATIONS = 600_000
const MAGIC = Buffer.from('Salted__')
const SALT = 8
const KEY = 32
const IV = 16

const derive = (passphrase: Secret, salt: Buffer) => {
  const bytes = pbkdf2Sync(passphrase.reveal(), salt, ITERATIONS, KEY + IV, 'sha256')
  return { key: bytes.subarray(0, KEY), iv: bytes.subarray(KEY) }
}

const encrypt = (plain: Buffer, passphrase: Secret): Buffer => {
  const salt = randomBytes(SALT)
  const { key, iv } = derive(passphrase, salt)
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  return Buffer.concat([MAGIC, salt, cipher.update(plain), cipher.final()])
}

/** undefined if the passphrase is wrong, or what was encrypted is damaged */
const decrypt = (sealed: Buffer, passphrase: Secret): Buffer | undefined => {
  if (!sealed.subarray(0, MAGIC.length).equals(MAGIC)) return undefined
  const { key, iv } = derive(passphrase, sealed.subarray(MAGIC.length, MAGIC.length + SALT))
  const decipher = createDecipheriv('aes-256-cbc', key, iv)
  try {
    return Buffer.concat([decipher.update(sealed.subarray(MAGIC.length + SALT)), decipher.final()])
  } catch {
    return undefined
  }
}

const macOf = (key: Buffer, data: Buffer): string => createHmac('sha256', key).update(data).digest('hex')

/** Seals bytes with a passphrase. */
export const seal = (plain: Buffer, passphrase: Secret): Buffer => {
  const macKey = randomBytes(32)
  const data = encrypt(plain, passphrase)
  return packUstar([
    { name: 'data', data },
    { name: 'mac-key', data: encrypt(Buffer.from(macKey.toString('hex')), passphrase) },
    { name: 'mac', data: Buffer.from(`${macOf(macKey, data)}\n`) },
  ])
}

/**
 * What was sealed; nothing is decrypted before its MAC is right. Throws `key-rejected` for a wrong passphrase, and
 * `verification` for a file that is none or was changed.
 */
export const unseal = (file: Buffer, passphrase: Secret): Buffer => {
  const members = new Map(unpackUstar(file).map(({ name, data }) => [name, data]))
  const [data, sealedKey, mac] = ['data', 'mac-key', 'mac'].map((name) => members.get(name))
  if (data === undefined || sealedKey === undefined || mac === undefined)
    throw new KnoxError('verification', 'it is not a file that knox keys backup made')
  const macKey = decrypt(sealedKey, passphrase)?.toString('latin1')
  if (macKey === undefined || !/^[0-9a-f]{64}$/.test(macKey))
    throw new KnoxError('key-rejected', 'the passphrase is wrong, or the file is damaged')
  const found = Buffer.from(`${macOf(Buffer.from(macKey, 'hex'), data)}\n`)
  const plain =
    found.length === mac.length && timingSafeEqual(found, mac) ? decrypt(data, passphrase) : undefined
  if (plain === undefined)
    throw new KnoxError('verification', 'the file was changed or is damaged', ['take another copy of it'])
  return plain
}

const OPTIONS = `-d -aes-256-cbc -md sha256 -pbkdf2 -iter ${ITERATIONS}`

/**
 * The two commands that check and open it without knox, in an empty folder; both ask for the passphrase, or take
 * `openssl` options in the place of that. In an emergency the MAC's key may stand in an argv; knox itself never does that.
 */
export const openingCommands = (file: string, options = ''): readonly [check: string, open: string] => {
  const openssl = `openssl enc ${OPTIONS}${options === '' ? '' : ` ${options}`}`
  return [
    `tar -xf ${quote(file)} && openssl dgst -sha256 -mac HMAC -macopt hexkey:$(${openssl} -in mac-key) data | grep -F "$(cat mac)" && echo unchanged`,
    `${openssl} -in data | tar -xpf -`,
  ]
}
