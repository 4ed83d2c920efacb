import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { formatDuration } from '../provision/core/sizes.ts'

const GUEST_SECONDS = 900

/** Exit: 0 the story was told to its end, 1 something in it failed, 15 the lab cannot run here. */
export const demo = defineCommand({
  name: 'demo',
  summary: 'the whole story on a real pool in a virtual machine; leaves nothing running',
  run: async (knox) => {
    // the lab is only loaded here: its bundler is of no use to the other verbs
    const { bundle, bundleOf } = await import('../provision/lab/bundle.ts')
    const { runInGuest } = await import('../provision/lab/microvm.ts')
    const { requireLab } = await import('../provision/lab/host.ts')
    await requireLab()
    if (knox.dryRun) {
      knox.result('would start a virtual machine and tell the story in it', {})
      return undefined
    }
    const started = Date.now()
    await bundle(['provision/lab/story.ts'])
    knox.emit({ type: 'note', text: 'starting a virtual machine with a home and a box in it ...' })
    const command = ['node', '--no-deprecation', bundleOf('provision/lab/story.ts')]
    const exitCode = await runInGuest({ command, memoryMib: 4096, seconds: GUEST_SECONDS }, (line) =>
      knox.result(line, { line }),
    )
    if (exitCode !== 0) throw new KnoxError('failed', 'the story did not come to its end')
    knox.emit({
      type: 'done',
      title: `told in ${formatDuration((Date.now() - started) / 1000)}; nothing is left running`,
    })
    return undefined
  },
})
