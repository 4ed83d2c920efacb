import { KnoxError } from '../core/errors.ts'
import { formatAddress, parseAddress } from '../core/names.ts'
import { isBox } from '../runtime/discover.ts'
import { knock, notTheBox } from '../runtime/knock.ts'
import { prepareBox } from '../runtime/target.ts'
import { findConfig, newConfigPath } from '../system/config-file.ts'
import { editConfig, putAddressFirst } from '../system/edit-config.ts'
import { configNow, type Step, type World } from './step.ts'

const silent = () => undefined

const problemOfAddress = (text: string): string | undefined =>
  parseAddress(text) === undefined ? 'is not an address: expected host, host:port or [ipv6]:port' : undefined

const writeAddress = async (world: World, address: string): Promise<void> => {
  const path = (await findConfig(world.configPath)) ?? newConfigPath(world.configPath)
  await editConfig(path, putAddressFirst(address))
}

const WAYS = {
  ready: 'its card is made: it is plugged in, or will be in a moment',
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
  if (address === '') await world.owner.run(['discover', '--wait', '--write'])
  else await writeAddress(world, address)
}

const adopt = async (world: World): Promise<void> => {
  const address = await world.owner.ask({
    question: 'its address?',
    flag: 'address',
    problem: problemOfAddress,
  })
  await world.owner.run(['adopt', address])
  await writeAddress(world, address)
}

const makeCard = async (world: World): Promise<void> => {
  await world.owner.run(['build-image'])
  await world.owner.run(['flash'])
  const device = await world.owner.ask({
    question: 'which of these drives is the card? (its path, as shown)',
    flag: 'card',
    problem: (text) => (text === '' ? 'needs a path such as /dev/sdb' : undefined),
  })
  const image = await world.owner.ask({ question: 'the image that was just made?', flag: 'image' })
  await world.owner.run(['flash', image, device])
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

/** 10/8, 172.16/12, 192.168/16, link-local: of no use from another house */
const PRIVATE =
  /^(?:10|127|169\.254|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\.|^fe80:|^f[cd]|\.local$|^localhost$/i

/** The address that is left when the box stands in the other house. */
export const placement: Step = {
  title: 'the other house',
  plan: 'bring the box there, and give knox its address on the internet',
  optional: true,
  look: async (world) => {
    const { addresses } = (await configNow(world)).box
    const far = addresses.find((text) => !PRIVATE.test(parseAddress(text)?.host ?? 'localhost'))
    return far === undefined ? undefined : `reached at ${far}`
  },
  act: async (world) => {
    const text = await world.owner.ask({
      question: 'the address it has in the other house? (host:port or an .onion; Enter: later)',
      flag: 'placed',
      initial: '',
      problem: (answer) => (answer === '' ? undefined : problemOfAddress(answer)),
    })
    const address = parseAddress(text)
    if (address === undefined) {
      world.emit({ type: 'note', text: 'once the box is there: knox setup --placed HOST:PORT' })
      return
    }
    const prepared = await prepareBox(await configNow(world))
    if (!(await isBox(prepared, address))) throw await notTheBox(prepared, address)
    await writeAddress(world, text)
  },
}
