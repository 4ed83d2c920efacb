import type { Command } from '../provision/cli/command.ts'
import { main, processTerminal } from '../provision/cli/main.ts'

/** Every verb, in the order of the help; each is the file of its name in this folder. */
const verbs: Command[] = []

process.exitCode = await main(verbs, process.argv.slice(2), processTerminal)
