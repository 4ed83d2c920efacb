import { defineCommand } from '../provision/cli/command.ts'
import { ROAD } from '../provision/setup/road.ts'
import { survey, walk, type Walked } from '../provision/setup/walk.ts'

const SIGNS = { done: '[x]', now: '[x]', later: '[ ]', elsewhere: '[x]', 'to do': '[ ]' } as const

const describe = (walked: readonly Walked[]): string =>
  walked.map(({ step, state, evidence }) => `${SIGNS[state]} ${step}: ${evidence}`).join('\n')

/** Exit: 0 all of it is done, 4 a question nobody answered, 10 the box does not answer, 130 stopped; else what the step says. */
export const setup = defineCommand({
  name: 'setup',
  summary:
    'from a card or an installed machine to the first proven backup and a daily schedule, step by step',
  details: [
    'Each step looks whether it is done already: stopped anywhere, it goes on there. --dry-run shows what is left.',
    'Without a terminal the flags answer; --yes confirms that the box’s disk may be encrypted, and loses what is on it.',
  ].join('\n'),
  options: {
    pool: { type: 'string', value: 'POOL', help: 'the pool to back up (default: the only one)' },
    name: { type: 'string', value: 'NAME', help: 'name of the box (default: knox)' },
    delegate: {
      type: 'string',
      value: 'USER',
      help: 'as root: who runs it every day instead (default: root)',
    },
    board: { type: 'string', value: 'BOARD', help: 'rpi-b or laptop (default: rpi-b)' },
    box: {
      type: 'string',
      value: 'HOW',
      help: 'ready, card or installed: how far the box is (default: ready)',
    },
    user: {
      type: 'string',
      value: 'NAME',
      help: 'an installed machine is adopted as NAME, who may use sudo or doas (default: root)',
    },
    'ssh-config': {
      type: 'string',
      value: 'FILE',
      help: 'your ssh_config for that machine (default: the usual one)',
    },
    reboot: { type: 'boolean', help: 'restart it after that without asking, and check it' },
    disk: {
      type: 'string',
      value: 'DISK',
      help: 'of several disks of the box this one, by name or serial number',
    },
    erase: {
      type: 'boolean',
      help: 'the disk may hold data, and all of it may be lost (never the box’s own)',
    },
    speed: { type: 'boolean', help: 'measure how fast the disk is, before and after encryption' },
    address: { type: 'string', value: 'HOST', help: 'where the box is (default: look for it)' },
    image: {
      type: 'string',
      value: 'FILE',
      help: 'the image for the card (default: it is built)',
    },
    builder: {
      type: 'string',
      value: 'USER@HOST',
      help: 'a FreeBSD that builds the image, if this machine is none',
    },
    card: { type: 'string', value: 'DEVICE', help: 'the card to write it to' },
    'keys-backup': { type: 'string', value: 'FILE', help: 'where the encrypted copy of the keys goes' },
    time: { type: 'string', value: 'HH:MM', help: 'when it runs every day (default: 17:59)' },
    placed: { type: 'string', value: 'HOST', help: 'its address in the other house, an .onion too' },
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      help: 'passphrase of the keys and of their copy, first line',
    },
  },
  run: async (knox) => {
    knox.whenStopped(['nothing is lost: knox setup goes on from here'])
    const world = { owner: knox, emit: knox.emit, configPath: knox.configPath }
    const walked = knox.dryRun ? await survey(ROAD, world) : await walk(ROAD, world)
    knox.result(describe(walked), { steps: walked })
    return undefined
  },
})
