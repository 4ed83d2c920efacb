import { setTimeout as sleep } from 'node:timers/promises'
import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { formatAddress } from '../provision/core/names.ts'
import { parseDuration } from '../provision/core/sizes.ts'
import { discover as look, type Discovery } from '../provision/runtime/discover.ts'
import { prepareBox } from '../provision/runtime/target.ts'
import { findConfig } from '../provision/system/config-file.ts'
import { editConfig, putAddressFirst } from '../provision/system/edit-config.ts'
import { ownNetworks, parseNetwork } from '../provision/system/networks.ts'

const PAUSE_SECONDS = 5
/** seconds; where nobody sits a box that never comes must not be waited for without end */
const PATIENCE = 15 * 60

/** Seconds that --wait lasts. Throws `usage` for what is no time. */
const patienceOf = ({ args, interactive }: Knox): number => {
  const text = args.text('give-up')
  if (text === undefined) return interactive ? Number.POSITIVE_INFINITY : PATIENCE
  const seconds = parseDuration(text)
  if (seconds === undefined)
    throw new KnoxError('usage', `--give-up ${JSON.stringify(text)} is not a time`, [
      'such as 90s, 30m or 2h',
    ])
  return seconds
}

const describe = ({ box, others, looked }: Discovery, name: string): string =>
  [
    ...box.map((address) => `${formatAddress(address)}  the box ${name}`),
    ...others.map((address) => `${formatAddress(address)}  ssh, not ours`),
    ...(box.length === 0 ? [`the box ${name} is not among the ${looked} addresses looked at`] : []),
  ].join('\n')

const write = async (knox: Knox, address: string): Promise<void> => {
  const path = await findConfig(knox.configPath)
  if (path === undefined) throw new KnoxError('config', 'knox.yaml is gone')
  await editConfig(path, putAddressFirst(address))
  knox.emit({ type: 'done', title: `${address} is the box’s first address in ${path}` })
}

/** Exit: 0 found, 2 not a network, 3 no keys yet, 10 not found or given up, 130 stopped; nothing is changed but by --write. */
export const discover = defineCommand({
  name: 'discover',
  summary: 'find the box on the local network, by the host key that knox made for it',
  options: {
    network: { type: 'string', value: 'NET', help: 'look only here, such as 192.168.1.0/24' },
    wait: { type: 'boolean', help: 'look again and again until the box is up' },
    'give-up': {
      type: 'string',
      value: 'TIME',
      help: 'wait no longer than this (default: for ever at a terminal, else 15m)',
    },
    write: { type: 'boolean', help: 'write its address into knox.yaml' },
  },
  run: async (knox) => {
    const config = await knox.config()
    const box = await prepareBox(config)
    const patience = patienceOf(knox)
    const network = knox.args.text('network')
    const own = ownNetworks()
    const networks = network === undefined ? own.networks : [parseNetwork(network)]
    if (networks.length === 0)
      throw new KnoxError('unreachable', 'this machine is in no network', ['--network NET names one'])
    knox.whenStopped(['nothing was changed'])
    const where = networks.map(({ name }) => name).join(' and ')
    knox.emit({ type: 'step', title: `looking for the box ${box.name} in ${where}` })
    let found = await look(box, networks, network === undefined ? own.addresses : [], knox.signal)
    const end = Date.now() + patience * 1000
    const isToWait = () =>
      found.box.length === 0 && knox.args.flag('wait') && !knox.signal.aborted && Date.now() < end
    if (isToWait())
      knox.emit({ type: 'step', title: 'not there yet: plug it in now, the box is reported when it is up' })
    while (isToWait()) {
      await sleep(PAUSE_SECONDS * 1000, undefined, { signal: knox.signal }).catch(() => undefined)
      found = await look(box, networks, own.addresses, knox.signal)
    }
    if (knox.signal.aborted) throw new KnoxError('interrupted', 'stopped', ['nothing was changed'])
    const [first] = found.box
    if (first !== undefined) knox.emit({ type: 'done', title: `the box ${box.name} is up` })
    knox.result(describe(found, box.name), {
      box: found.box.map(formatAddress),
      others: found.others.map(formatAddress),
      looked: found.looked,
    })
    if (first === undefined) return 'unreachable'
    const address = formatAddress(first)
    if (knox.args.flag('write') && !knox.dryRun) await write(knox, address)
    else if (config.box.addresses[0] !== address)
      knox.emit({ type: 'note', text: `knox discover --write puts ${address} into knox.yaml` })
    return undefined
  },
})
