import type { Command } from '../provision/cli/command.ts'
import { main } from '../provision/cli/main.ts'
import { processTerminal } from '../provision/cli/terminal.ts'

/** Every verb, in the order of the help; each is the file of its name in this folder, loaded only when it is wanted. */
const VERBS: Readonly<Record<string, () => Promise<Command>>> = {
  setup: async () => (await import('./setup.ts')).setup,
  keys: async () => (await import('./keys.ts')).keys,
  'build-image': async () => (await import('./build-image.ts')).buildImageVerb,
  flash: async () => (await import('./flash.ts')).flash,
  adopt: async () => (await import('./adopt.ts')).adopt,
  discover: async () => (await import('./discover.ts')).discover,
  render: async () => (await import('./render.ts')).render,
  'prepare-disk': async () => (await import('./prepare-disk.ts')).prepareDisk,
  backup: async () => (await import('./backup.ts')).backup,
  snapshot: async () => (await import('./snapshot.ts')).snapshot,
  preview: async () => (await import('./preview.ts')).preview,
  snapback: async () => (await import('./snapback.ts')).snapback,
  schedule: async () => (await import('./schedule.ts')).schedule,
  status: async () => (await import('./status.ts')).status,
  prune: async () => (await import('./prune.ts')).prune,
  check: async () => (await import('./check.ts')).check,
  verify: async () => (await import('./verify.ts')).verify,
  scrub: async () => (await import('./scrub.ts')).scrub,
  restore: async () => (await import('./restore.ts')).restore,
  rescue: async () => (await import('./rescue.ts')).rescue,
  demo: async () => (await import('./demo.ts')).demo,
  bench: async () => (await import('./bench.ts')).bench,
  'test-freebsd': async () => (await import('./test-freebsd.ts')).testFreebsd,
}

const find = async (name: string): Promise<Command | undefined> =>
  Object.hasOwn(VERBS, name) ? VERBS[name]?.() : undefined

const words = process.argv.slice(2)
const wanted = await find(words[0] ?? '')
const commands =
  wanted === undefined ? await Promise.all(Object.values(VERBS).map((load) => load())) : [wanted]

process.exitCode = await main(commands, words, processTerminal(), find)
