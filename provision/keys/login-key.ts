import type { Login } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import type { KeyPair } from './ed25519.ts'
import { publicKeyLine } from './public-key.ts'
import { publicFile } from './key-files.ts'
import type { NewFile } from './place-files.ts'
import { writePrivateKey } from './private-key.ts'

/** Private and public file of a key pair; the private one encrypted if there is a passphrase. */
export const keyPairFiles = (
  name: string,
  pair: KeyPair,
  comment: string,
  passphrase?: Secret,
): readonly NewFile[] => [
  { name, data: writePrivateKey({ ...pair, comment }, passphrase) },
  { name: publicFile(name), data: publicKeyLine(pair.publicKey, comment) },
]

/** The files of a login's key pair. Only knox-shell is encrypted: the others work from cron, and their certificates restrict them. */
export const loginKeyFiles = (login: Login, pair: KeyPair, passphrase: Secret): readonly NewFile[] =>
  keyPairFiles(login, pair, login, login === 'knox-shell' ? passphrase : undefined)
