import { isIPv4, isIPv6 } from 'node:net'
import { KnoxError } from '../core/errors.ts'

/** The addresses from which a certificate may be used: the critical option source-address, a list of CIDR blocks. */

const bitsOfIPv4 = (address: string): string =>
  address
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('')

/** The 128 bits; the URL parser brings every way of writing to groups of hex digits with at most one `::`. */
const bitsOfIPv6 = (address: string): string => {
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  return [...left, ...zeros, ...right].map((hex) => parseInt(hex, 16).toString(2).padStart(16, '0')).join('')
}

const bitsOf = (address: string): string | undefined => {
  if (isIPv4(address)) return bitsOfIPv4(address)
  return isIPv6(address) && !address.includes('%') ? bitsOfIPv6(address) : undefined
}

const isBlock = (entry: string): boolean => {
  const [address = '', length, more] = entry.split('/')
  const bits = bitsOf(address)
  if (bits === undefined || more !== undefined) return false
  if (length === undefined) return true
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(length) || Number(length) > bits.length) return false
  return !bits.slice(Number(length)).includes('1')
}

/**
 * Splits and checks a comma-separated list; throws `usage` for what sshd would refuse, because a certificate with
 * such a list lets nobody in (addrmatch.c: no empty entry, no address bit set outside the prefix).
 */
export const parseSourceAddress = (text: string): readonly string[] => {
  const entries = text.split(',').map((entry) => entry.trim())
  const wrong = entries.find((entry) => !isBlock(entry))
  if (wrong === undefined) return entries
  throw new KnoxError('usage', `${JSON.stringify(wrong)} is not an address or network`, [
    'expected a list such as 192.168.1.0/24,2001:db8::/32, no bits set outside the prefix',
  ])
}
