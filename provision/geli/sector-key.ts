import { createHmac } from 'node:crypto'
import type { MasterKeys } from './master-key.ts'

/** Which key a sector has, after g_eli_key.c: one for each 2^20 sectors. Offsets are Numbers, exact up to 8 PiB. */

const SECTORS_PER_KEY = 2 ** 20

/** from this version on sectors have derived keys */
const DERIVED_SINCE = 5
const DERIVED_FROM_DATA_KEY_SINCE = 7

/** The number as GELI hashes it: 8 bytes, lowest first. */
const le64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** Bytes that one key covers; without end where one key covers all. */
export const keySpan = (version: number, sectorsize: number): number =>
  version < DERIVED_SINCE ? Infinity : SECTORS_PER_KEY * sectorsize

/** The key of the `keyno`th span, 64 bytes and new: the caller wipes it. */
export const sectorKey = (version: number, keys: MasterKeys, keyno: number): Buffer => {
  if (version < DERIVED_SINCE) return Buffer.from(keys.dataKey)
  const parent = version < DERIVED_FROM_DATA_KEY_SINCE ? keys.ivKey : keys.dataKey
  return createHmac('sha512', parent).update('ekey').update(le64(keyno)).digest()
}
