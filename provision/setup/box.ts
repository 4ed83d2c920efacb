import { KnoxError } from '../core/errors.ts'
import { formatAddress, parseAddress } from '../core/names.ts'
import { ownAddress } from '../runtime/adopt-login.ts'
import { isBox } from '../runtime/discover.ts'
import { knock } from '../runtime/knock.ts'
import { prepareBox } from '../runtime/target.ts'
import { isBoxAt, problemOfAddress, proveAndWrite, writeAddress } from './address.ts'
import { makeCard } from './card.ts'
import { configNow, type Step, type World } from './step.ts'

const silent = () => undefined

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
  await proveAndWrite(world, address)
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
      ...(args.flag('reboot') ? ['--reboot'] : []),
    ])
  await writeAddress(world, own === undefined ? address : formatAddress(own))
}

const ACTS: Readonly<Record<string, (world: World) => Promise<void>>> = {
  ready: find,
  card: makeCard,
  installed: adopt,
}

/** Another machine at a known address ends the road, unless a flag says how it goes on. */
const unlessAnswered =
  ({ owner: { args } }: World) =>
  (error: unknown): undefined => {
    const isAnswered = ['placed', 'address', 'box'].some((flag) => args.text(flag) !== undefined)
    if (!isAnswered || !(error instanceof KnoxError) || error.code !== 'key-rejected') throw error
  }

/**
 * True, and written down, if a flag says where the box is and the box proves itself there. Throws if it is not where --placed
 * says, for a box that stands in another house is neither looked for on this network nor made.
 */
const isWhereSaid = async (world: World): Promise<boolean> => {
  const { args } = world.owner
  for (const flag of ['address', 'placed']) {
    const text = args.text(flag)
    if (text === undefined || !(await isBoxAt(world, text))) continue
    await writeAddress(world, text)
    return true
  }
  const placed = args.text('placed')
  if (placed !== undefined && args.text('box') === undefined) await proveAndWrite(world, placed)
  return false
}

/** The machine, found by its address and known by its host key and by taking our certificate. */
export const box: Step = {
  title: 'the box',
  plan: 'an image on a card, or an installed FreeBSD; find it, check its identity',
  look: async (world) => {
    const prepared = await prepareBox(await configNow(world))
    const answer = await knock(prepared, silent).catch(unlessAnswered(world))
    return answer === undefined
      ? undefined
      : `${prepared.name} answers at ${formatAddress(answer.address)}, proved by its host key; its disk is ${answer.disk}`
  },
  act: async (world) => {
    if (!(await isWhereSaid(world))) {
      const way = await world.owner.choose({
        question: 'the box does not answer yet; how far is it?',
        flag: 'box',
        initial: 'ready',
        choices: Object.entries(WAYS).map(([value, label]) => ({ value, label })),
      })
      await (ACTS[way] ?? find)(world)
    }
    const prepared = await prepareBox(await configNow(world))
    if ((await knock(prepared, silent)) !== undefined) return
    throw new KnoxError(
      'unreachable',
      `the box does not answer at ${prepared.addresses.map(formatAddress).join(' or ')}`,
      ['is it switched on, with its card in it and a network cable?'],
    )
  },
}
