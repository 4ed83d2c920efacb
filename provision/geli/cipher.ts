import { KnoxError } from '../core/errors.ts'
import { FLAG_AUTH, FLAG_ONETIME, type Metadata } from './metadata.ts'

/** The CRYPTO_ numbers of FreeBSD's sys/opencrypto/cryptodev.h that geli(8) can write. */
export const AES_CBC = 11
export const AES_XTS = 22
const NAMES: Readonly<Record<number, string>> = {
  2: '3des-cbc',
  3: 'blowfish-cbc',
  [AES_CBC]: 'aes-cbc',
  16: 'null',
  21: 'camellia-cbc',
  [AES_XTS]: 'aes-xts',
}

export interface Cipher {
  readonly mode: 'xts' | 'cbc'
  /** of one AES key: 16, 24 or 32 */
  readonly keyBytes: number
}

type Parts = Pick<Metadata, 'version' | 'flags' | 'ealgo' | 'keylen'>

/** As geli(8) names it, with the key length in bits: `aes-xts 128`. */
export const cipherName = ({ ealgo, keylen }: Pick<Metadata, 'ealgo' | 'keylen'>): string =>
  `${NAMES[ealgo] ?? `algorithm ${ealgo}`} ${keylen}`

const unsupported = (what: string): KnoxError =>
  new KnoxError('platform', `${what} is not supported here`, [
    'aes-xts with 128 or 256 and aes-cbc with 128, 192 or 256 bits are, without authentication',
    'FreeBSD itself can open this provider',
  ])

/** How the sectors are encrypted. Throws `platform` for all that is not plain AES-XTS or AES-CBC. */
export const supportedCipher = (metadata: Parts): Cipher => {
  const { version, flags, ealgo, keylen } = metadata
  if ((flags & FLAG_AUTH) !== 0) throw unsupported('a GELI provider with data authentication (geli init -a)')
  if ((flags & FLAG_ONETIME) !== 0) throw unsupported('a one-time GELI provider (geli onetime)')
  if (ealgo === AES_XTS && version >= 5 && [128, 256].includes(keylen))
    return { mode: 'xts', keyBytes: keylen / 8 }
  if (ealgo === AES_CBC && [128, 192, 256].includes(keylen)) return { mode: 'cbc', keyBytes: keylen / 8 }
  throw unsupported(`the GELI cipher ${cipherName(metadata)} in version ${version}`)
}
