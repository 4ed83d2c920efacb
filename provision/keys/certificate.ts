import { randomBytes } from 'node:crypto'
import { KnoxError } from '../core/errors.ts'
import { KEY_TYPE, publicKeyBlob, sign, verify, type KeyPair } from './ed25519.ts'
import { list, readList, readWire, string, uint32, uint64 } from './wire.ts'

/** OpenSSH user certificates: PROTOCOL.certkeys of OpenSSH, type ssh-ed25519-cert-v01@openssh.com. */

export const CERTIFICATE_TYPE = 'ssh-ed25519-cert-v01@openssh.com'
const USER_CERTIFICATE = 1
const FOREVER = 2n ** 64n - 1n

/**
 * A limited validity begins long ago: the box has no clock of its own and may wake up in the past,
 * where a certificate that begins today would lock everybody out.
 */
const LONG_AGO = 1_420_070_400n // 2015-01-01T00:00:00Z

export interface CertificateRequest {
  /** of the key that is certified, 32 bytes */
  readonly publicKey: Buffer
  readonly serial: bigint
  readonly keyId: string
  readonly principals: readonly string[]
  /** undefined: for ever */
  readonly validUntil: Date | undefined
  /** the only thing the key may do; undefined: a shell, with a terminal */
  readonly forcedCommand: string | undefined
  /** CIDR list the key may come from; undefined: anywhere */
  readonly sourceAddress: string | undefined
}

export interface Certificate extends CertificateRequest {
  readonly authority: Buffer
  readonly extensions: readonly string[]
}

const options = (entries: readonly (readonly [string, string | undefined])[]): Buffer =>
  list(entries.flatMap(([name, value]) => (value === undefined ? [] : [name, string(value)])))

/** The certificate line of a -cert.pub file, signed by the authority. */
export const signCertificate = (request: CertificateRequest, authority: KeyPair, comment: string): string => {
  const { validUntil, forcedCommand, sourceAddress } = request
  const body = Buffer.concat([
    string(CERTIFICATE_TYPE),
    string(randomBytes(32)),
    string(request.publicKey),
    uint64(request.serial),
    uint32(USER_CERTIFICATE),
    string(request.keyId),
    list(request.principals),
    uint64(validUntil === undefined ? 0n : LONG_AGO),
    uint64(validUntil === undefined ? FOREVER : BigInt(Math.floor(validUntil.getTime() / 1000))),
    options([
      ['force-command', forcedCommand],
      ['source-address', sourceAddress],
    ]),
    forcedCommand === undefined ? list(['permit-pty', '']) : list([]),
    string(''),
    string(publicKeyBlob(authority.publicKey)),
  ])
  const signature = Buffer.concat([string(KEY_TYPE), string(sign(body, authority.privateKey))])
  return `${CERTIFICATE_TYPE} ${Buffer.concat([body, string(signature)]).toString('base64')} ${comment}\n`
}

const readOptions = (bytes: Buffer): ReadonlyMap<string, string> => {
  const words = readList(bytes)
  const pairs = new Map<string, string>()
  for (let index = 0; index + 1 < words.length; index += 2) {
    const value = words[index + 1] ?? Buffer.alloc(0)
    pairs.set(String(words[index]), value.length === 0 ? '' : readWire(value).string().toString())
  }
  return pairs
}

/** Reads a -cert.pub line and checks its signature. Throws `config` if it is no such certificate or is forged. */
export const parseCertificate = (line: string): Certificate => {
  const [type, base64 = ''] = line.trim().split(/\s+/)
  const bytes = Buffer.from(base64, 'base64')
  const reader = readWire(bytes)
  if (type !== CERTIFICATE_TYPE || reader.string().toString() !== CERTIFICATE_TYPE)
    throw new KnoxError('config', 'a certificate file does not hold an ed25519 certificate')
  reader.string() // nonce
  const publicKey = Buffer.from(reader.string())
  const serial = reader.uint64()
  if (reader.uint32() !== USER_CERTIFICATE) throw new KnoxError('config', 'a certificate is not for a user')
  const keyId = reader.string().toString()
  const principals = readList(reader.string()).map(String)
  reader.uint64()
  const until = reader.uint64()
  const critical = readOptions(reader.string())
  const extensions = [...readOptions(reader.string()).keys()]
  reader.string() // reserved
  const authorityBlob = readWire(reader.string())
  authorityBlob.string()
  const authority = Buffer.from(authorityBlob.string())
  const signed = bytes.subarray(0, bytes.length - reader.left())
  const signature = readWire(reader.string())
  signature.string()
  if (!verify(signed, signature.string(), authority))
    throw new KnoxError('config', 'the signature of a certificate is wrong')
  return {
    publicKey,
    serial,
    keyId,
    principals,
    validUntil: until === FOREVER ? undefined : new Date(Number(until) * 1000),
    forcedCommand: critical.get('force-command'),
    sourceAddress: critical.get('source-address'),
    authority,
    extensions,
  }
}
