import { randomBytes } from 'node:crypto'
import ed25519 from 'node-forge/lib/ed25519.js'
import { Secret } from '../core/secret.ts'
import { PUBLIC_LENGTH } from './public-key.ts'
import { damaged } from './wire.ts'

/** Ed25519 (RFC 8032) by node-forge. */

export const PRIVATE_LENGTH = 64
const SEED_LENGTH = 32
const SIGNATURE_LENGTH = 64

export interface KeyPair {
  readonly publicKey: Buffer
  /** 64 bytes: the seed, then the public key, as OpenSSH stores it */
  readonly privateKey: Secret
}

/** A key pair from a seed of 32 bytes, by default from the system's random source. */
export const makeKeyPair = (seed: Buffer = randomBytes(SEED_LENGTH)): KeyPair => {
  const { publicKey, privateKey } = ed25519.generateKeyPair({ seed })
  return {
    publicKey: Buffer.from(publicKey),
    privateKey: new Secret('private key', Buffer.from(privateKey)),
  }
}

/** The key pair of a stored private key; throws `config` if its two halves do not belong together. */
export const keyPairOf = (privateKey: Buffer, what: string): KeyPair => {
  if (privateKey.length !== PRIVATE_LENGTH) throw damaged(what, 'its private key has the wrong length')
  const pair = makeKeyPair(privateKey.subarray(0, SEED_LENGTH))
  if (!pair.privateKey.reveal().equals(privateKey))
    throw damaged(what, 'its private and public parts do not belong together')
  return pair
}

/** The signature of a message, 64 bytes. */
export const sign = ({ privateKey }: KeyPair, message: Buffer): Buffer =>
  Buffer.from(ed25519.sign({ message, privateKey: privateKey.reveal() }))

/** True if the signature is the key's own over the message; never throws. */
export const verify = (publicKey: Buffer, message: Buffer, signature: Buffer): boolean =>
  publicKey.length === PUBLIC_LENGTH &&
  signature.length === SIGNATURE_LENGTH &&
  ed25519.verify({ message, signature, publicKey })
