import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  certificateLine,
  decodeCertificate,
  readCertificateLine,
  signCertificate,
  type Certificate,
} from '../../../provision/keys/certificate.ts'
import { makeKeyPair, sign } from '../../../provision/keys/ed25519.ts'
import { fingerprint, publicKeyLine, readPublicKeyLine } from '../../../provision/keys/public-key.ts'
import { loginCertificate } from '../../../provision/keys/login-certificate.ts'
import { writePrivateKey } from '../../../provision/keys/private-key.ts'
import { FOREVER, validFor } from '../../../provision/keys/validity.ts'
import { encodeList, encodeString } from '../../../provision/keys/wire.ts'
import { isTame, knoxError, NOW, noSshKeygen, run, sshKeygen, tempFolder } from './helpers.ts'

const ca = makeKeyPair()
const { publicKey } = makeKeyPair()

const plain: Certificate = {
  publicKey,
  serial: 7n,
  keyId: 'knox-send',
  principals: ['root'],
  validity: FOREVER,
  forcedCommand: '/root/knox-zfs-receive.sh session',
  sourceAddress: ['10.0.0.0/8', '2001:db8::/32'],
  extensions: [],
}

describe('certificates that knox signs', () => {
  test('ssh-keygen -L shows all that was signed', { skip: noSshKeygen }, async (t) => {
    const line = certificateLine(signCertificate(plain, ca), 'knox-send')
    const { code, stdout } = await sshKeygen(t, line, '-L')
    assert.equal(code, 0)
    const shown = stdout
      .trim()
      .split('\n')
      .slice(1)
      .map((one) => one.trim())
    assert.deepEqual(shown, [
      'Type: ssh-ed25519-cert-v01@openssh.com user certificate',
      `Public key: ED25519-CERT ${fingerprint(publicKey)}`,
      `Signing CA: ED25519 ${fingerprint(ca.publicKey)} (using ssh-ed25519)`,
      'Key ID: "knox-send"',
      'Serial: 7',
      'Valid: forever',
      'Principals:',
      'root',
      'Critical Options:',
      'force-command /root/knox-zfs-receive.sh session',
      'source-address 10.0.0.0/8,2001:db8::/32',
      'Extensions: (none)',
    ])
  })

  test(
    'ssh-keygen -L shows a shell with a terminal and a limited validity',
    { skip: noSshKeygen },
    async () => {
      const terms = { serial: 2n ** 64n - 1n, validity: validFor(365, NOW), sourceAddress: [] }
      const blob = signCertificate(loginCertificate('knox-shell', publicKey, terms), ca)
      const { stdout } = await run(
        ['env', 'TZ=UTC', 'ssh-keygen', '-L', '-f', '-'],
        certificateLine(blob, 'knox-shell'),
      )
      assert.match(stdout, /Serial: 18446744073709551615\n/)
      assert.match(stdout, /Valid: from 2015-01-01T00:00:00 to 2027-11-23T12:00:00\n/)
      assert.match(stdout, /Critical Options: \(none\)\n\s+Extensions: \n\s+permit-pty\n$/)
    },
  )

  test('they are ssh-keygen’s bytes, but for nonce and signature', { skip: noSshKeygen }, async (t) => {
    const folder = await tempFolder(t)
    const path = (name: string) => join(folder, name)
    await writeFile(path('ca'), writePrivateKey({ ...ca, comment: 'knox-ca' }).reveal(), { mode: 0o600 })
    await writeFile(path('knox-send.pub'), publicKeyLine(publicKey, 'knox-send'))
    const options = [
      'clear',
      'source-address=10.0.0.0/8,2001:db8::/32',
      'force-command=/root/knox-zfs-receive.sh session',
      'permit-pty',
      'permit-agent-forwarding',
    ]
    const words = ['-q', '-s', path('ca'), '-I', 'knox-send', '-n', 'root', '-z', '7', '-V', 'always:forever']
    const flags = options.flatMap((option) => ['-O', option])
    const { code, stderr } = await run(['ssh-keygen', ...words, ...flags, path('knox-send.pub')])
    assert.equal(code, 0, stderr)
    const line = await readFile(path('knox-send-cert.pub'), 'utf8')
    const theirs = Buffer.from(line.split(' ')[1]!, 'base64')
    const ours = signCertificate({ ...plain, extensions: ['permit-pty', 'permit-agent-forwarding'] }, ca)
    const nonceAt = 4 + 'ssh-ed25519-cert-v01@openssh.com'.length + 4
    const same = (blob: Buffer) =>
      Buffer.from(blob)
        .fill(0, nonceAt, nonceAt + 32)
        .fill(0, blob.length - 64)
    assert.deepEqual(same(ours), same(theirs))
    assert.equal(certificateLine(theirs, 'knox-send'), line)
    const decoded = readCertificateLine(line, 'theirs')
    assert.deepEqual(decoded.sourceAddress, plain.sourceAddress)
    assert.deepEqual(decoded.extensions, ['permit-agent-forwarding', 'permit-pty'])
  })

  test('whatever is signed is read back', () => {
    const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    const text = fc.string({ unit: 'binary' })
    const name = fc.stringMatching(/^[a-z-]{1,20}$/)
    const certificate = fc.record(
      {
        publicKey: fc.constant(publicKey),
        serial: uint64,
        keyId: text,
        principals: fc.array(name),
        validity: fc.record({ after: uint64, before: uint64 }, { noNullPrototype: true }),
        forcedCommand: fc.option(text, { nil: undefined }),
        sourceAddress: fc.constantFrom([], ['10.0.0.0/8'], ['::1', '10.0.0.1']),
        extensions: fc.uniqueArray(name).map((names) => names.sort()),
      },
      { noNullPrototype: true },
    )
    fc.assert(
      fc.property(certificate, (one) => {
        const read = decodeCertificate(signCertificate(one, ca), 'it')
        assert.deepEqual(read, { ...one, caKey: ca.publicKey })
      }),
      { numRuns: 50 },
    )
  })
})

describe('what the logins may do', () => {
  const terms = { serial: 1n, validity: FOREVER, sourceAddress: [] }

  test('knox-shell has a terminal and no forced command', () => {
    const { forcedCommand, extensions } = loginCertificate('knox-shell', publicKey, terms)
    assert.equal(forcedCommand, undefined)
    assert.deepEqual(extensions, ['permit-pty'])
  })

  test('knox-fifo and knox-send have one forced command and nothing else', () => {
    for (const [login, word] of [
      ['knox-fifo', 'key'],
      ['knox-send', 'session'],
    ] as const) {
      const { forcedCommand, extensions, principals } = loginCertificate(login, publicKey, terms)
      assert.equal(forcedCommand, `/root/knox-zfs-receive.sh ${word}`)
      assert.deepEqual(extensions, [])
      assert.deepEqual(principals, ['root'])
    }
  })
})

describe('certificates that are refused', () => {
  const blob = signCertificate(plain, ca)

  /** The certificate with one part replaced by another of the same meaning, signed again. */
  const resigned = (from: Buffer, to: Buffer): Buffer => {
    const body = blob.subarray(0, -(4 + 4 + 11 + 4 + 64))
    const at = body.indexOf(from)
    assert.ok(at > 0)
    const bent = Buffer.concat([body.subarray(0, at), to, body.subarray(at + from.length)])
    const signature = Buffer.concat([encodeString('ssh-ed25519'), encodeString(sign(ca, bent))])
    return Buffer.concat([bent, encodeString(signature)])
  }

  test('the re-signed certificate of these tests is itself valid', () => {
    const same = encodeString('knox-send')
    assert.equal(decodeCertificate(resigned(same, same), 'it').keyId, 'knox-send')
  })

  test('a truncated one, wherever it ends', () => {
    for (let length = 0; length < blob.length; length += 1)
      assert.throws(() => decodeCertificate(blob.subarray(0, length), 'it'), knoxError('config'))
  })

  test('one of which any bit was changed', () => {
    fc.assert(
      fc.property(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const bent = Buffer.from(blob)
        bent[at]! ^= bits
        assert.throws(() => decodeCertificate(bent, 'it'), knoxError('config'))
      }),
      { numRuns: 300 },
    )
  })

  test('a host certificate', () => {
    const user = Buffer.concat([Buffer.from('00000001', 'hex'), encodeString('knox-send')])
    const host = Buffer.concat([Buffer.from('00000002', 'hex'), encodeString('knox-send')])
    assert.throws(() => decodeCertificate(resigned(user, host), 'it'), knoxError('config', /user/))
  })

  test('one with a critical option that is unknown, twice there, or without value', () => {
    const command = encodeString(plain.forcedCommand!)
    const source = encodeString(plain.sourceAddress.join(','))
    const options = encodeList(['force-command', command, 'source-address', source])
    const cases = [
      encodeList(['force-command', command, 'verify-required', '']),
      encodeList(['force-command', command, 'force-command', command]),
      encodeList(['force-command']),
      encodeList(['force-command', 'no string within']),
    ]
    for (const wrong of cases)
      assert.throws(() => decodeCertificate(resigned(options, wrong), 'it'), knoxError('config'))
  })

  test('no line and no garbage makes it throw anything but a KnoxError', () => {
    const start = blob.subarray(0, 36)
    fc.assert(
      fc.property(fc.uint8Array(), (garbage) =>
        isTame(() => decodeCertificate(Buffer.concat([start, garbage]), 'it')),
      ),
    )
    fc.assert(fc.property(fc.string(), (text) => isTame(() => readCertificateLine(text, 'it'))))
    assert.throws(() => readPublicKeyLine(certificateLine(blob, 'x'), 'it'), knoxError('config'))
  })
})
