import { readdir } from 'node:fs/promises'
import { isIPv4, isIPv6 } from 'node:net'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { formatAddress, parseAddress } from '../core/names.ts'
import { newestImage } from '../core/image-name.ts'
import { ownAddress } from '../runtime/adopt-login.ts'
import { isBox } from '../runtime/discover.ts'
import { knock, notTheBox } from '../runtime/knock.ts'
import { prepareBox } from '../runtime/target.ts'
import { findConfig, newConfigPath } from '../system/config-file.ts'
import { editConfig, putAddressFirst } from '../system/edit-config.ts'
import { problemOfFile, typedPath } from './files.ts'
import { configNow, type Step, type World } from './step.ts'

const silent = () => undefined

const problemOfAddress = (text: string): string | undefined =>
  parseAddress(text) === undefined
    ? 'is not an address: expected host, host:port, [ipv6]:port or an .onion'
    : undefined

const writeAddress = async (world: World, address: string): Promise<void> => {
  const path = (await findConfig(world.configPath)) ?? newConfigPath(world.configPath)
  await editConfig(path, putAddressFirst(address))
}

/** Throws if somebody else answers there, or nobody: a wrong address must not get into knox.yaml. */
const mustBeBox = async (world: World, text: string): Promise<void> => {
  const address = parseAddress(text)
  if (address === undefined) throw new KnoxError('usage', `${JSON.stringify(text)} is not an address`)
  const prepared = await prepareBox(await configNow(world))
  if (!(await isBox(prepared, address))) throw await notTheBox(prepared, address)
}

const WAYS = {
  ready: 'its card is made: it is plugged in, or soon will be',
  card: 'a card has to be made for it first',
  installed: 'a machine with FreeBSD on it shall become the box',
} as const

const find = async (world: World): Promise<void> => {
  const address = await world.owner.ask({
    question: 'its address? (Enter: look for it on this network)',
    flag: 'address',
    initial: '',
    problem: (text) => (text === '' ? undefined : problemOfAddress(text)),
  })
  if (address === '') {
    await world.owner.run(['discover', '--wait', '--write'])
    return
  }
  await mustBeBox(world, address)
  await writeAddress(world, address)
}

const adopt = async (world: World): Promise<void> => {
  const address = await world.owner.ask({
    question: 'its address?',
    flag: 'address',
    problem: problemOfAddress,
  })
  const { args } = world.owner
  const [user, sshConfig] = [args.text('user') ?? 'root', args.text('ssh-config')]
  // the owner's ssh may know the machine by a name of its own
  const own = (await ownAddress({ address, user, config: sshConfig })) ?? parseAddress(address)
  const prepared = await prepareBox(await configNow(world))
  // a run that was stopped after it had been adopted: its plain way in is shut
  if (own === undefined || !(await isBox(prepared, own)))
    await world.owner.run([
      ...['adopt', address, `--user=${user}`],
      ...(sshConfig === undefined ? [] : [`--ssh-config=${sshConfig}`]),
    ])
  await writeAddress(world, own === undefined ? address : formatAddress(own))
}

/** The path of an image: the one that is named, else it is built; build-image takes seconds if nothing has changed since it was. */
const imageForCard = async (world: World): Promise<string> => {
  const image = await world.owner.ask({
    question: 'an image for it? (Enter: build it)',
    flag: 'image',
    initial: '',
    problem: (text) => (text === '' ? undefined : problemOfFile(text)),
  })
  if (image !== '') return image
  await world.owner.run(['build-image'])
  const built = newestImage(await readdir('.'), await configNow(world))
  if (built !== undefined) return built
  throw new KnoxError('failed', 'build-image left no image in this folder')
}

const makeCard = async (world: World): Promise<void> => {
  const image = await imageForCard(world)
  await world.owner.run(['flash'])
  const device = await world.owner.ask({
    question: 'which of these drives is the card? (its path, as shown)',
    flag: 'card',
    problem: (text) => (text.startsWith('/') ? undefined : 'needs a path such as /dev/sdb'),
  })
  await world.owner.run(['flash', typedPath(image), device])
  await world.owner.run(['discover', '--wait', '--write'])
}

const ACTS: Readonly<Record<string, (world: World) => Promise<void>>> = {
  ready: find,
  card: makeCard,
  installed: adopt,
}

/** The machine, found by its address and known by its host key and by taking our certificate. */
export const box: Step = {
  title: 'the box',
  plan: 'an image on a card, or an installed FreeBSD; find it, check its identity',
  look: async (world) => {
    const prepared = await prepareBox(await configNow(world))
    const answer = await knock(prepared, silent)
    return answer === undefined
      ? undefined
      : `${prepared.name} answers at ${formatAddress(answer.address)}, proved by its host key; its disk is ${answer.disk}`
  },
  act: async (world) => {
    const way = await world.owner.choose({
      question: 'the box does not answer yet; how far is it?',
      flag: 'box',
      initial: 'ready',
      choices: Object.entries(WAYS).map(([value, label]) => ({ value, label })),
    })
    await (ACTS[way] ?? find)(world)
    const prepared = await prepareBox(await configNow(world))
    if ((await knock(prepared, silent)) !== undefined) return
    throw new KnoxError(
      'unreachable',
      `the box does not answer at ${prepared.addresses.map(formatAddress).join(' or ')}`,
      ['is it switched on, with its card in it and a network cable?'],
    )
  },
}

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
    await mustBeBox(world, text)
    await writeAddress(world, text)
  },
}
