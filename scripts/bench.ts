import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import { measurePlan } from '../provision/runtime/measure-plan.ts'
import { measureDecrypt } from '../provision/rescue/measure-decrypt.ts'

const GUEST_SECONDS = 5400

/** Exit: 0 measured, 1 something failed, 15 the lab cannot run here. */
export const bench = defineCommand({
  name: 'bench',
  summary: 'knox beside the bare zfs send, ssh and zfs receive, and beside dd, as ratios in one run',
  options: {
    idle: { type: 'boolean', help: 'only the run with nothing to send, beside syncoid' },
    flash: { type: 'boolean', help: 'only flash beside dd' },
    mib: { type: 'string', value: 'MIB', help: 'size of the first send (default 1024)' },
  },
  run: async (knox) => {
    if (knox.dryRun) {
      knox.result('would measure here and in a virtual machine', {})
      return undefined
    }
    const { bundle, bundleOf } = await import('../provision/lab/bundle.ts')
    const { requireLab } = await import('../provision/lab/host.ts')
    const { runInGuest } = await import('../provision/lab/microvm.ts')
    const { knox: ours, openssl } = await measureDecrypt(5)
    knox.result(
      `decrypting the disk (rescue): ${formatBytes(ours)}/s, openssl speed on one core ${formatBytes(openssl)}/s, ratio ${(ours / openssl).toFixed(2)}`,
      { decrypt: ours, openssl },
    )
    const { seconds, memory } = measurePlan(100, 100)
    knox.result(
      `planning over 100 datasets and 10,000 snapshots: ${(seconds * 1000).toFixed(0)} ms, the whole process ${formatBytes(memory)}`,
      { seconds, memory },
    )
    await requireLab()
    const mib = knox.args.text('mib') ?? '1024'
    if (!/^[1-9][0-9]{0,4}$/.test(mib))
      throw new KnoxError('usage', `${JSON.stringify(mib)} is not a size in MiB`)
    await bundle(['provision/lab/measure.ts'])
    const command = [
      'env',
      `KNOX_BENCH_MIB=${mib}`,
      `KNOX_BENCH_ONLY=${['flash', 'idle'].find((name) => knox.args.flag(name)) ?? ''}`,
      'node',
      '--no-deprecation',
      bundleOf('provision/lab/measure.ts'),
    ]
    const memoryMib = 4096 + Number(mib) * 4
    const exitCode = await runInGuest({ command, memoryMib, seconds: GUEST_SECONDS }, (line) =>
      knox.result(line, { line }),
    )
    if (exitCode !== 0) throw new KnoxError('failed', 'the bench did not come to its end')
    return undefined
  },
})
