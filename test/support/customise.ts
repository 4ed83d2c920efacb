import { defineCommand } from '../../provision/cli/command.ts'
import { main } from '../../provision/cli/main.ts'
import { processTerminal } from '../../provision/cli/terminal.ts'
import { customiseImage } from '../../provision/image/customise.ts'

/** A verb of its own that customises an image: `customise --config FILE KEYS IMAGE`, with knox's own handling of signals. */

const customise = defineCommand({
  name: 'customise',
  summary: 'for tests',
  positionals: 'KEYS IMAGE',
  run: async (knox) => {
    const [folder = '', image = ''] = knox.positionals
    const { emit, signal } = knox
    await customiseImage({ image, folder, config: await knox.config(), emit, signal })
    return undefined
  },
})

process.exitCode = await main([customise], ['customise', ...process.argv.slice(2)], processTerminal())
