import { networkInterfaces } from 'node:os'
import { KnoxError } from '../core/errors.ts'

/** IPv4 networks as numbers: the ones this machine stands in, and the hosts of one. */

export interface Network {
  /** such as 192.168.1.0/24 */
  readonly name: string
  readonly first: number
  readonly prefix: number
}

/** what is larger is not scanned whole */
const LONGEST_SCAN = 22

const numberOf = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

const textOf = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')

const networkOf = (address: number, prefix: number): Network => {
  const first = address - (address % 2 ** (32 - prefix))
  return { name: `${textOf(first)}/${prefix}`, first, prefix }
}

/** `192.168.1.0/24`, or one address. Throws `usage` for what is neither or has more than 1022 hosts. */
export const parseNetwork = (text: string): Network => {
  const match = /^([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?:\/([0-9]{1,2}))?$/.exec(text)
  const [, address = '', digits = '32'] = match ?? []
  const prefix = Number(digits)
  const isAddress = address.split('.').every((part) => Number(part) <= 255)
  if (match === null || !isAddress || prefix > 32)
    throw new KnoxError('usage', `${JSON.stringify(text)} is not a network`, ['such as 192.168.1.0/24'])
  if (prefix < LONGEST_SCAN)
    throw new KnoxError('usage', `${text} is too large to look through`, [
      `${address}/${LONGEST_SCAN} is the largest: ${hostsOf(networkOf(0, LONGEST_SCAN)).length} hosts`,
    ])
  return networkOf(numberOf(address), prefix)
}

/** The addresses of a network that a machine may have. */
export const hostsOf = ({ first, prefix }: Network): readonly string[] => {
  const size = 2 ** (32 - prefix)
  const ends = prefix >= 31 ? 0 : 1
  return Array.from({ length: size - 2 * ends }, (_, index) => textOf(first + ends + index))
}

interface Own {
  readonly networks: readonly Network[]
  /** this machine's own addresses */
  readonly addresses: readonly string[]
}

/**
 * The IPv4 networks of this machine's interfaces, but for loopback and link-local ones. A network that is too large is cut to
 * the 1022 hosts around this machine.
 */
export const ownNetworks = (interfaces = networkInterfaces()): Own => {
  const cards = Object.values(interfaces)
    .flatMap((list) => list ?? [])
    .filter(
      ({ family, internal, address }) => family === 'IPv4' && !internal && !address.startsWith('169.254.'),
    )
  const networks = cards.map(({ address, cidr }) => {
    const prefix = Math.max(Number(cidr?.split('/')[1] ?? 24), LONGEST_SCAN)
    return networkOf(numberOf(address), prefix)
  })
  const byName = new Map(networks.map((network) => [network.name, network]))
  return { networks: [...byName.values()], addresses: cards.map(({ address }) => address) }
}
