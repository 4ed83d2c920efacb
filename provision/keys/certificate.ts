import { randomBytes } from 'node:crypto'
import { sign, verify, type KeyPair } from './ed25519.ts'
import { KEY_TYPE, PUBLIC_LENGTH, publicKeyBlob, readLine, readPublicKeyBlob } from './public-key.ts'
import type { Validity } from './validity.ts'
import { damaged, encodeList, encodeString, encodeUint32, encodeUint64, readWire } from './wire.ts'

/** OpenSSH's user certificates (PROTOCOL.certkeys) for Ed25519 keys, signed by an Ed25519 CA key. */

const CERTIFICATE_TYPE = 'ssh-ed25519-cert-v01@openssh.com'
const USER = 1
const NONCE_LENGTH = 32
const FORCE_COMMAND = 'force-command'
const SOURCE_ADDRESS = 'source-address'

export interface Certificate {
  readonly publicKey: Buffer
  readonly serial: bigint
  readonly keyId: string
  readonly principals: readonly string[]
  readonly validity: Validity
  readonly forcedCommand: string | undefined
  /** CIDR blocks; empty: from anywhere */
  readonly sourceAddress: readonly string[]
  /** such as `permit-pty`; empty: what ssh-keygen(1) calls `clear` */
  readonly extensions: readonly string[]
}

export interface SignedCertificate extends Certificate {
  readonly caKey: Buffer
}

/** Critical options in their lexical order; a value is a string within a string. */
const encodeOptions = ({ forcedCommand, sourceAddress }: Certificate): Buffer =>
  encodeList([
    ...(forcedCommand === undefined ? [] : [FORCE_COMMAND, encodeString(forcedCommand)]),
    ...(sourceAddress.length === 0 ? [] : [SOURCE_ADDRESS, encodeString(sourceAddress.join(','))]),
  ])

/** Extensions in lexical order; those that are known are flags, with an empty value. */
const encodeExtensions = (names: readonly string[]): Buffer =>
  encodeList([...names].sort().flatMap((name) => [name, '']))

/** A certificate on the wire, signed by the CA. Throws RangeError for a serial outside uint64. */
export const signCertificate = (certificate: Certificate, ca: KeyPair): Buffer => {
  const { publicKey, serial, keyId, principals, validity, extensions } = certificate
  const body = Buffer.concat([
    encodeString(CERTIFICATE_TYPE),
    encodeString(randomBytes(NONCE_LENGTH)),
    encodeString(publicKey),
    encodeUint64(serial),
    encodeUint32(USER),
    encodeString(keyId),
    encodeList(principals),
    encodeUint64(validity.after),
    encodeUint64(validity.before),
    encodeOptions(certificate),
    encodeExtensions(extensions),
    encodeString(''), // reserved
    encodeString(publicKeyBlob(ca.publicKey)),
  ])
  const signature = Buffer.concat([encodeString(KEY_TYPE), encodeString(sign(ca, body))])
  return Buffer.concat([body, encodeString(signature)])
}

/** The line of a -cert.pub file, with a newline. */
export const certificateLine = (blob: Buffer, comment: string): string =>
  `${CERTIFICATE_TYPE} ${blob.toString('base64')} ${comment}\n`

const decodeCriticalOptions = (
  fields: readonly Buffer[],
  what: string,
): Pick<Certificate, 'forcedCommand' | 'sourceAddress'> => {
  const values = new Map<string, string>()
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]?.toString('latin1') ?? ''
    const packed = fields[index + 1]
    if (packed === undefined) throw damaged(what, 'a critical option has no value')
    if ((name !== FORCE_COMMAND && name !== SOURCE_ADDRESS) || values.has(name))
      throw damaged(what, 'a critical option in it is unknown or stands twice')
    const reader = readWire(packed, what)
    values.set(name, reader.text())
    reader.end()
  }
  return {
    forcedCommand: values.get(FORCE_COMMAND),
    sourceAddress: values.get(SOURCE_ADDRESS)?.split(',') ?? [],
  }
}

const decodeExtensions = (fields: readonly Buffer[], what: string): readonly string[] => {
  if (fields.length % 2 !== 0) throw damaged(what, 'an extension has no value')
  return fields.filter((_, index) => index % 2 === 0).map((name) => name.toString())
}

/**
 * Reads a certificate from the wire and checks its signature by the CA key that it names; whether that is the
 * owner's CA is the caller's question. Throws `config` if it is damaged, signed wrongly, or not for a user.
 */
export const decodeCertificate = (blob: Buffer, what: string): SignedCertificate => {
  const reader = readWire(blob, what)
  if (reader.string().toString('latin1') !== CERTIFICATE_TYPE)
    throw damaged(what, `it is not ${CERTIFICATE_TYPE}`)
  reader.string() // nonce
  const publicKey = reader.string()
  if (publicKey.length !== PUBLIC_LENGTH) throw damaged(what, 'its public key has the wrong length')
  const serial = reader.uint64()
  if (reader.uint32() !== USER) throw damaged(what, 'it is not a user certificate')
  const keyId = reader.text()
  const principals = reader.list().map((principal) => principal.toString())
  const validity = { after: reader.uint64(), before: reader.uint64() }
  const critical = decodeCriticalOptions(reader.list(), what)
  const extensions = decodeExtensions(reader.list(), what)
  reader.string() // reserved
  const caKey = readPublicKeyBlob(reader.string(), what)
  const signed = blob.subarray(0, reader.position())
  const signature = readWire(reader.string(), what)
  reader.end()
  if (signature.string().toString('latin1') !== KEY_TYPE)
    throw damaged(what, `its signature is not ${KEY_TYPE}`)
  const bytes = signature.string()
  signature.end()
  if (!verify(caKey, signed, bytes)) throw damaged(what, 'its signature is not valid')
  return { publicKey, serial, keyId, principals, validity, ...critical, extensions, caKey }
}

/** Reads a -cert.pub file; throws `config` as decodeCertificate does. */
export const readCertificateLine = (text: string, what: string): SignedCertificate =>
  decodeCertificate(readLine(text, CERTIFICATE_TYPE, what), what)
