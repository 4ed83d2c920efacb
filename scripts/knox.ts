import type { Command } from '../provision/cli/command.ts'
import { main, processTerminal } from '../provision/cli/main.ts'
import { backup } from './backup.ts'
import { bench } from './bench.ts'
import { demo } from './demo.ts'
import { keys } from './keys.ts'
import { prepareDisk } from './prepare-disk.ts'
import { preview } from './preview.ts'
import { render } from './render.ts'
import { snapback } from './snapback.ts'
import { snapshot } from './snapshot.ts'
import { status } from './status.ts'
import { testFreebsd } from './test-freebsd.ts'

/** Every verb, in the order of the help; each is the file of its name in this folder. */
const verbs: Command[] = [
  keys,
  render,
  prepareDisk,
  backup,
  snapshot,
  preview,
  snapback,
  status,
  demo,
  bench,
  testFreebsd,
]

process.exitCode = await main(verbs, process.argv.slice(2), processTerminal())
