/** What a FreeBSD branch means for the box's files. Data only. */

export interface Release {
  /** the oldest OpenSSH that the branch carries; its words are understood by all that follow */
  readonly openssh: string
}

/**
 * OpenSSH of the branches. Seen in sources: 10.2 6.6.1, 10.4 7.3, 12.0 7.8; seen running: 13.2 9.3.
 * Branches that are not listed take the nearest older one: newer servers understand the older words.
 */
const OPENSSH: readonly (readonly [major: number, minor: number, openssh: string])[] = [
  [10, 2, '6.6'],
  [10, 4, '7.3'],
  [12, 0, '7.8'],
  [13, 2, '9.3'],
]

/** `releng/10.2` -> [10, 2] */
export const releaseNumber = (branch: string): readonly [number, number] => {
  const [major = '0', minor = '0'] = branch.replace('releng/', '').split('.')
  return [Number(major), Number(minor)]
}

/** What the branch means. Branches older than 10.2 are treated as 10.2. */
export const releaseOf = (branch: string): Release => {
  const [major, minor] = releaseNumber(branch)
  const known = OPENSSH.findLast(([M, m]) => major > M || (major === M && minor >= m))
  return { openssh: known?.[2] ?? '6.6' }
}

const atLeast = (version: string, wanted: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

/** The words of sshd_config(5) that depend on the OpenSSH version. */
export const sshdWords = ({ openssh }: Release) => ({
  openssh,
  // ChallengeResponseAuthentication became an alias of the other word in 8.7
  keyboardInteractive: atLeast(openssh, '8.7')
    ? 'KbdInteractiveAuthentication'
    : 'ChallengeResponseAuthentication',
  // 6.6 knows curve25519 by its first name only; the post-quantum exchange came with 8.5
  kexAlgorithms: [
    ...(atLeast(openssh, '8.5') ? ['sntrup761x25519-sha512@openssh.com'] : []),
    'curve25519-sha256@libssh.org',
  ].join(','),
  disableForwarding: atLeast(openssh, '7.4'),
})
