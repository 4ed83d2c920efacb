import { spawn } from 'node:child_process'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { configSchema, type BoxConfig } from '../../../provision/core/config.ts'
import { KnoxError, type ErrorCode } from '../../../provision/core/errors.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { boxKeysOf, type BoxKeys } from '../../../provision/image/box-keys.ts'
import { overlayOf, type OverlayFile } from '../../../provision/image/overlay.ts'

/** What the tests of provision/image share. The keys are made here, so that they are the same in every run. */

/** A private folder that is gone after the test. */
export const tempFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export const run = (argv: readonly string[], stdin = ''): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const [file = '', ...args] = argv
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: 60_000 })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdin.on('error', () => undefined).end(stdin)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })

/** For assert.throws and assert.rejects: a KnoxError of this code, whose sentence matches. */
export const knoxError =
  (code: ErrorCode, pattern = /./) =>
  (error: unknown): boolean =>
    error instanceof KnoxError && error.code === code && pattern.test(error.message)

const string = (bytes: Buffer | string): Buffer => {
  const content = Buffer.from(bytes)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}

/** An Ed25519 key in OpenSSH's formats, from a seed of one repeated byte. */
export const keyFiles = (
  byte: number,
  comment = 'test',
): { readonly secret: Secret; readonly line: string } => {
  const seed = Buffer.alloc(32, byte)
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const jwk = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({
    format: 'jwk',
  })
  const publicKey = Buffer.from(jwk.x ?? '', 'base64url')
  const blob = Buffer.concat([string('ssh-ed25519'), string(publicKey)])
  const check = Buffer.alloc(8, 7)
  const body = [check, blob, string(Buffer.concat([seed, publicKey])), string(comment)]
  const length = Buffer.concat(body).length
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, (8 - (length % 8)) % 8)
  const one = Buffer.from([0, 0, 0, 1])
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...['none', 'none', ''].map(string),
    one,
    string(blob),
    string(Buffer.concat([...body, padding])),
  ])
  const [kind, end] = ['BEGIN', 'END'].map((word) => `-----${word} OPENSSH PRIVATE KEY-----`)
  const base64 = file.toString('base64').replace(/.{70}/g, '$&\n')
  return {
    secret: new Secret('host key', `${kind ?? ''}\n${base64}\n${end ?? ''}\n`),
    line: `ssh-ed25519 ${blob.toString('base64')} ${comment}\n`,
  }
}

const HOST_KEY = keyFiles(1)

export const KEYS: BoxKeys = boxKeysOf({
  authority: keyFiles(2).line,
  hostPublicKey: HOST_KEY.line,
  hostKey: HOST_KEY.secret,
})

/** A box as knox.yaml would give it, with every default. */
export const boxOf = (keys: Readonly<Record<string, unknown>> = {}): BoxConfig =>
  configSchema.parse({ box: { addresses: ['192.168.1.13'], ...keys }, home: { pool: 'wd' } }).box

export const overlay = (keys: Readonly<Record<string, unknown>> = {}): Promise<readonly OverlayFile[]> =>
  overlayOf(boxOf(keys), KEYS)

/** The text of one file of an overlay. */
export const textIn = (files: readonly OverlayFile[], path: string): string => {
  const content = files.find((file) => file.path === path)?.content
  if (typeof content !== 'string') throw new Error(`${path} is not a text of the overlay`)
  return content
}

/** Lines that say something: no comments, nothing empty. */
export const linesOf = (text: string): readonly string[] =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

/** Boards, networks and releases that between them reach every branch of the templates. */
export const BOXES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'rpi-b': { board: 'rpi-b', keymap: 'uk' },
  laptop: { board: 'laptop', keymap: 'uk', interface: 'bfe0' },
  'laptop-static-13.2': {
    board: 'laptop',
    release: 'releng/13.2',
    name: 'attic',
    network: { address: '192.168.1.13/24', gateway: '192.168.1.1' },
    nameserver: '192.168.1.1',
    disk: 'diskid/DISK-WX41A3',
    pool: 'copy',
  },
  'rpi-b-14.4': { board: 'rpi-b', release: 'releng/14.4', root: 'da1p2', swap: 'da1p3', interface: 'genet0' },
}

/** Writes a file of a key folder. */
export const writeKey = (folder: string, name: string, content: string | Buffer): Promise<void> =>
  writeFile(join(folder, name), content, { mode: 0o600 })
