import { randomBytes } from 'node:crypto'
import { KnoxError } from '../core/errors.ts'
import { AES_XTS, supportedCipher } from './cipher.ts'
import { isSlotUsed, sealSlot, slotOf, type MasterKeys } from './master-key.ts'
import { NEWEST_VERSION, SLOT_BYTES, type Metadata } from './metadata.ts'
import { userKey, type Credentials } from './user-key.ts'

/** geli init, setkey and delkey as functions over metadata, after geom_eli.c. Nothing here writes to a device. */

/** `length` random bytes; tests give their own. */
export type Random = (length: number) => Buffer

export interface InitOptions extends Credentials {
  /** of the provider, in bytes: a whole number of its sectors */
  readonly provsize: number
  /** of the decrypted device, in bytes: a power of two; geli's -s */
  readonly sectorsize: number
  /** 22 AES-XTS (the default) or 11 AES-CBC; geli's -e */
  readonly ealgo?: number
  /** 128 (the default), 192 or 256 bits; geli's -l */
  readonly keylen?: number
  /** 7 by default; geli's -V */
  readonly version?: number
  readonly flags?: number
  /** of PBKDF2 for a passphrase, needed with one; geli's -i */
  readonly iterations?: number
  readonly random?: Random
}

const usage = (message: string): KnoxError => new KnoxError('usage', message)

/**
 * Metadata of a new provider; by default what `geli init -s SECTORSIZE -P -K KEYFILE` of FreeBSD 10.2 makes.
 * Throws `usage` without a credential or for numbers that geli refuses, `platform` for an unsupported cipher.
 */
export const initMetadata = async (options: InitOptions): Promise<Metadata> => {
  const { provsize, sectorsize, passphrase, random = randomBytes } = options
  const { iterations = -1 } = options
  if (passphrase === undefined ? iterations !== -1 : iterations < 0)
    throw usage('a passphrase needs a number of iterations, and only a passphrase does')
  if (sectorsize < 512 || !Number.isInteger(Math.log2(sectorsize)))
    throw usage(`a sector size of ${sectorsize} bytes is no power of two`)
  if (!Number.isSafeInteger(provsize) || provsize <= sectorsize)
    throw usage(`a provider of ${provsize} bytes is too small for sectors of ${sectorsize}`)
  const salt = random(64)
  const mkeys = random(2 * SLOT_BYTES)
  const metadata: Metadata = {
    version: options.version ?? NEWEST_VERSION,
    flags: options.flags ?? 0,
    ealgo: options.ealgo ?? AES_XTS,
    keylen: options.keylen ?? 128,
    aalgo: 0,
    provsize,
    sectorsize,
    keys: 0,
    iterations,
    salt,
    mkeys,
  }
  supportedCipher(metadata)
  const user = await userKey(metadata, options)
  try {
    return setKey(metadata, { ivKey: mkeys.subarray(0, 64), dataKey: mkeys.subarray(64, 128) }, 0, user)
  } finally {
    user.fill(0)
    mkeys.fill(0)
  }
}

const withSlot = (metadata: Metadata, slot: number, content: Buffer, keys: number): Metadata => {
  if (slot !== 0 && slot !== 1) throw usage(`there is no key slot ${slot}: it is 0 or 1`)
  const mkeys = Buffer.from(metadata.mkeys)
  content.copy(slotOf({ ...metadata, mkeys }, slot), 0, 0, SLOT_BYTES)
  return { ...metadata, mkeys, keys }
}

/** Metadata whose slot, 0 or 1, opens with this user key: geli setkey -n. What stood in the slot is gone. */
export const setKey = (metadata: Metadata, keys: MasterKeys, slot: number, user: Buffer): Metadata =>
  withSlot(metadata, slot, sealSlot(metadata, keys, user), metadata.keys | (1 << slot))

/** Metadata without the key in this slot: geli delkey -n. Throws `refused` for the last one, without which all is lost. */
export const deleteKey = (metadata: Metadata, slot: number, random: Random = randomBytes): Metadata => {
  const keys = metadata.keys & ~(1 << slot)
  if (!isSlotUsed(metadata, slot)) throw usage(`key slot ${slot} holds no key`)
  if ((keys & 3) === 0) throw new KnoxError('refused', 'this is the last key of the provider')
  return withSlot(metadata, slot, random(SLOT_BYTES), keys)
}
