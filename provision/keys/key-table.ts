import { printable } from '../core/names.ts'
import type { ListedCertificate, ListedKey } from './list-keys.ts'

const wordsOf = ({ kind, encrypted }: ListedKey): string => {
  if (kind === 'private-key') return encrypted === true ? 'private, passphrase' : 'private'
  return { folder: 'folder', 'public-key': 'public', certificate: 'certificate', 'disk-key': 'disk key' }[
    kind
  ]
}

const certificateLines = (certificate: ListedCertificate): readonly string[] => {
  const { keyId, serial, principals, validAfter, validBefore, extensions } = certificate
  const from = certificate.sourceAddress.length === 0 ? 'anywhere' : certificate.sourceAddress.join(', ')
  return [
    `serial ${serial}, key ID ${keyId}, for ${principals.join(', ')}, valid ${validAfter} to ${validBefore}`,
    `runs ${certificate.forcedCommand ?? 'a shell'}, from ${from}, ${extensions.join(', ') || 'no extensions'}`,
  ]
}

/** The list of keys as people read it. */
export const keyTable = (keys: readonly ListedKey[]): string => {
  const width = Math.max(...keys.map(({ file }) => file.length))
  return keys
    .flatMap((key) => [
      `${key.file.padEnd(width)}  ${wordsOf(key).padEnd(19)}  ${key.fingerprint ?? ''}`.trimEnd(),
      ...(key.certificate === undefined ? [] : certificateLines(key.certificate)).map(
        (line) => `    ${line}`,
      ),
      ...key.problems.map((problem) => `  ! ${problem}`),
    ])
    .map(printable)
    .join('\n')
}
