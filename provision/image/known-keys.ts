import { createHash } from 'node:crypto'
import { fingerprint, publicKeyBlob, readPublicKeyLine } from '../keys/public-key.ts'

/**
 * Keys that the whole world has. The tutorial that knox grew from publishes an image ready to use, and beside it the
 * private half of the authority that the image trusts (keys/knox-ca in hughobrien/zfs-remote-mirror): whoever has it
 * gets into every box that runs that image unchanged. Its host key lies in the image itself.
 */
const PUBLISHED: ReadonlyMap<string, string> = new Map([
  ['SHA256:t6ros43/K7sC1aJp5ZFInseVdlUmAlAAWx19ZxBjoGo', 'the authority of the tutorial’s image'],
  ['SHA256:P0aqKXgePIQf5oWOoH5G6U5BhQRaVMRvg29lyHvzdNg', 'the login key of the tutorial’s image'],
  // its README gives this one in the old form only
  ['MD5:8f:a5:94:2e:b5:a2:97:93:ed:71:2c:67:de:a1:32:9c', 'the host key of the tutorial’s image'],
])

/** The fingerprint as `ssh-keygen -l -E md5` prints it. */
const oldFingerprint = (publicKey: Buffer): string =>
  `MD5:${createHash('md5')
    .update(publicKeyBlob(publicKey))
    .digest('hex')
    .replaceAll(/(..)(?=.)/g, '$1:')}`

/** What the public key in a line of a .pub file is, if it is known to be published. */
export const publishedKey = (
  line: string,
  published: ReadonlyMap<string, string> = PUBLISHED,
): string | undefined => {
  try {
    const key = readPublicKeyLine(line, 'a key of the image')
    return published.get(fingerprint(key)) ?? published.get(oldFingerprint(key))
  } catch {
    return undefined // not an Ed25519 key
  }
}
