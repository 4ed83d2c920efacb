import { isIPv4, isIPv6 } from 'node:net'
import type { Config } from '../core/config.ts'
import { parseAddress } from '../core/names.ts'
import { problemOfAddress, proveAndWrite } from './address.ts'
import { configNow, type Step } from './step.ts'

/** 10/8, 172.16/12, 192.168/16, link-local and local names: of no use from another house */
const PRIVATE_4 = /^(?:10|127|169\.254|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\./
const PRIVATE_6 = /^(?:fe80:|f[cd]|::1$)/i
const LOCAL_NAME = /^[^.]+\.?$|\.(?:local|localdomain|lan|home|internal|home\.arpa|fritz\.box)\.?$/i

/** True for an address that leads there from anywhere. */
export const isFar = (text: string): boolean => {
  const host = parseAddress(text)?.host
  if (host === undefined) return false
  if (isIPv4(host)) return !PRIVATE_4.test(host)
  return isIPv6(host.replace(/%.*$/, '')) ? !PRIVATE_6.test(host) : !LOCAL_NAME.test(host)
}

/** The address by which the box is reached in the other house; with --placed that one, if it comes first. */
const placedAt = ({ box: { addresses } }: Config, given: string): string | undefined => {
  if (given === '') return addresses.find(isFar)
  return addresses[0] === given ? given : undefined
}

/** The address that is left when the box stands in the other house. */
export const placement: Step = {
  title: 'the other house',
  plan: 'bring the box there, and give knox its address on the internet',
  optional: true,
  look: async (world) => {
    const far = placedAt(await configNow(world), world.owner.args.text('placed') ?? '')
    return far === undefined ? undefined : `reached at ${far}`
  },
  act: async (world) => {
    const text = await world.owner.ask({
      question: 'its address in the other house? (Enter: later)',
      flag: 'placed',
      initial: '',
      problem: (answer) => (answer === '' ? undefined : problemOfAddress(answer)),
    })
    if (text === '') {
      world.emit({ type: 'note', text: 'once the box is there: knox setup --placed HOST:PORT' })
      return
    }
    await proveAndWrite(world, text)
  },
}
