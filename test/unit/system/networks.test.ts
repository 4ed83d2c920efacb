import assert from 'node:assert/strict'
import type { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { hostsOf, ownNetworks } from '../../../provision/system/networks.ts'

const card = (cidr: string, more: object = {}) => {
  const [address = ''] = cidr.split('/')
  return { address, cidr, netmask: '', mac: '', family: 'IPv4', internal: false, ...more }
}
const own = (...cards: readonly object[]) =>
  ownNetworks({ em0: cards } as unknown as ReturnType<typeof networkInterfaces>)

test('own networks are those of the cards, each once, none of them larger than can be looked through', () => {
  const { networks, addresses } = own(
    card('127.0.0.1/8', { internal: true }),
    card('169.254.7.7/16'),
    card('fd00::1/64', { family: 'IPv6' }),
    card('192.168.1.20/24'),
    card('192.168.1.21/24'),
    card('10.1.7.9/8'),
    card('172.16.0.5/31'),
    card('192.0.2.1', { cidr: null }),
  )
  assert.deepEqual(
    networks.map((network) => [network.name, hostsOf(network).length]),
    [
      ['192.168.1.0/24', 254],
      // the 1022 around this machine
      ['10.1.4.0/22', 1022],
      ['172.16.0.4/31', 2],
      ['192.0.2.0/24', 254],
    ],
  )
  assert.deepEqual(addresses, ['192.168.1.20', '192.168.1.21', '10.1.7.9', '172.16.0.5', '192.0.2.1'])
  const around = networks.flatMap(hostsOf)
  assert.ok(around.includes('10.1.7.9') && !around.includes('10.1.8.1'))
  assert.deepEqual(ownNetworks({}), { networks: [], addresses: [] })
})
