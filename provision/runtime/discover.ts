import type { Address } from '../core/names.ts'
import { findSsh } from '../system/find-ssh.ts'
import { hostsOf, type Network } from '../system/networks.ts'
import { run } from '../system/process.ts'
import { LOOK_WORDS, longestLook, sshArgv } from '../tools/ssh.ts'
import type { Box } from './target.ts'

export interface Discovery {
  /** where the box proved itself by its host key */
  readonly box: readonly Address[]
  /** where another SSH server answers */
  readonly others: readonly Address[]
  readonly looked: number
}

const HANDSHAKES_AT_ONCE = 8

/** All that ssh says when the host key was right and no login fits. A server can put these words, but not alone, into an early goodbye. */
const REFUSED_BY_THE_BOX = /^root@\S+: Permission denied \([a-z,-]*\)\.\r?\n$/

/**
 * True if whoever answers there holds the box's host key. ssh itself checks the signature: a machine that only shows the
 * public key, which it can have from anywhere, is refused before any login is tried. No login is offered.
 */
export const isBox = async (box: Box, address: Address): Promise<boolean> => {
  const target = { folder: box.folder, boxName: box.name, address }
  const argv = sshArgv(target, 'knox-send', { words: LOOK_WORDS })
  const { exitCode, stderr } = await run(argv, { timeout: longestLook(address) })
  return exitCode === 255 && REFUSED_BY_THE_BOX.test(stderr)
}

/** Looks for the box in these networks, at port 22 and at the ports of its known addresses. */
export const discover = async (
  box: Box,
  networks: readonly Network[],
  own: readonly string[],
  signal: AbortSignal,
): Promise<Discovery> => {
  const ports = [...new Set([22, ...box.addresses.map(({ port }) => port)])]
  const hosts = [...new Set(networks.flatMap(hostsOf))].filter((host) => !own.includes(host))
  const addresses = hosts.flatMap((host) => ports.map((port) => ({ host, port })))
  const found = await findSsh(addresses, signal)
  const ours = new Set<Address>()
  const queue = found.values()
  const check = async (): Promise<void> => {
    for (const address of queue) if (!signal.aborted && (await isBox(box, address))) ours.add(address)
  }
  await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, check))
  return {
    box: found.filter((address) => ours.has(address)),
    others: found.filter((address) => !ours.has(address)),
    looked: hosts.length,
  }
}
