import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'
import { KnoxError } from '../core/errors.ts'
import { supportedCipher } from './cipher.ts'
import { SLOT_BYTES, type Metadata } from './metadata.ts'
import { userKey, type Credentials } from './user-key.ts'

/** Both keys of a provider, 64 bytes each; whoever has them wipes them with wipeKeys. */
export interface MasterKeys {
  readonly ivKey: Buffer
  readonly dataKey: Buffer
}

export interface OpenedKeys extends MasterKeys {
  /** that was opened, 0 or 1 */
  readonly slot: number
}

const KEYS_BYTES = 128
const ZERO_IV = Buffer.alloc(16)

const hmac = (key: Buffer, message: Buffer | number): Buffer =>
  createHmac('sha512', key)
    .update(typeof message === 'number' ? Buffer.of(message) : message)
    .digest()

/** Runs work with the two keys that come from a user key, and wipes them: the slot's AES key and its HMAC key. */
const withSlotKeys = <T>(user: Buffer, bytes: number, work: (encryption: Buffer, mac: Buffer) => T): T => {
  const encryption = hmac(user, 1)
  const mac = hmac(user, 0)
  try {
    return work(encryption.subarray(0, bytes), mac)
  } finally {
    encryption.fill(0)
    mac.fill(0)
  }
}

/** a slot is AES-CBC even where the sectors are AES-XTS */
const slotCipher = (keyBytes: number) => `aes-${keyBytes * 8}-cbc`

const openSlot = (slot: Buffer, keyBytes: number, user: Buffer): MasterKeys | undefined =>
  withSlotKeys(user, keyBytes, (encryption, mac) => {
    const plain = createDecipheriv(slotCipher(keyBytes), encryption, ZERO_IV)
      .setAutoPadding(false)
      .update(slot)
    try {
      const keys = plain.subarray(0, KEYS_BYTES)
      if (!timingSafeEqual(hmac(mac, keys), plain.subarray(KEYS_BYTES))) return undefined
      return { ivKey: Buffer.from(keys.subarray(0, 64)), dataKey: Buffer.from(keys.subarray(64)) }
    } finally {
      plain.fill(0)
    }
  })

/** One slot, 192 bytes: the same keys, sealed for a user key. Throws `platform` for an unsupported cipher. */
export const sealSlot = (metadata: Metadata, keys: MasterKeys, user: Buffer): Buffer => {
  const { keyBytes } = supportedCipher(metadata)
  return withSlotKeys(user, keyBytes, (encryption, mac) => {
    const both = Buffer.concat([keys.ivKey, keys.dataKey])
    const plain = Buffer.concat([both, hmac(mac, both)])
    try {
      return createCipheriv(slotCipher(keyBytes), encryption, ZERO_IV).setAutoPadding(false).update(plain)
    } finally {
      both.fill(0)
      plain.fill(0)
    }
  })
}

/** The encrypted 192 bytes of slot 0 or 1, a view into the metadata. */
export const slotOf = (metadata: Metadata, slot: number): Buffer =>
  metadata.mkeys.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES)

/** True if the slot holds a key. */
export const isSlotUsed = (metadata: Metadata, slot: number): boolean => (metadata.keys & (1 << slot)) !== 0

/**
 * The master keys from the first slot, 0 then 1, that the user key opens.
 * Throws `key-rejected` if it opens none, `platform` for an unsupported cipher, `verification` if no slot holds a key.
 */
export const openSlots = (metadata: Metadata, user: Buffer): OpenedKeys => {
  const { keyBytes } = supportedCipher(metadata)
  const used = [0, 1].filter((slot) => isSlotUsed(metadata, slot))
  if (used.length === 0)
    throw new KnoxError('verification', 'no key slot of this GELI provider holds a key', [
      'its keys were deleted; only a metadata backup from before can bring them back',
    ])
  for (const slot of used) {
    const keys = openSlot(slotOf(metadata, slot), keyBytes, user)
    if (keys !== undefined) return { ...keys, slot }
  }
  throw new KnoxError('key-rejected', 'this key opens no slot of the GELI provider', [
    'key files count whole and in the order they were given to geli init',
    'a passphrase belongs to it only if the slot was made with one',
  ])
}

/** openSlots with the user key of these credentials, which is wiped. Throws as userKey and openSlots do. */
export const unlock = async (metadata: Metadata, credentials: Credentials): Promise<OpenedKeys> => {
  supportedCipher(metadata) // says so before a passphrase is stretched for seconds
  const user = await userKey(metadata, credentials)
  try {
    return openSlots(metadata, user)
  } finally {
    user.fill(0)
  }
}

/** Overwrites the keys. */
export const wipeKeys = ({ ivKey, dataKey }: MasterKeys): void => {
  ivKey.fill(0)
  dataKey.fill(0)
}
