import { readdir } from 'node:fs/promises'
import { bundle, bundleOf } from '../../provision/lab/bundle.ts'
import { labProblem } from '../../provision/lab/host.ts'
import { runInGuest } from '../../provision/lab/microvm.ts'

/** Runs test/lab/*.test.ts in a guest of the lab; `NAME ...` picks files. Where there can be no lab it says why. */

const SECONDS = 2400

const write = (line: string) => void process.stdout.write(`${line}\n`)

const problem = await labProblem()
if (problem !== undefined) {
  write(`lab tests skipped: ${problem}`)
  // CI has root and Debian: there a skipped lab is a failure
  process.exitCode = process.env['CI'] === 'true' ? 1 : 0
} else {
  const wanted = process.argv.slice(2)
  const names = (await readdir(new URL('.', import.meta.url)))
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
  const tests = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)))
  await bundle(tests.map((name) => `test/lab/${name}`))
  const files = tests.map((name) => bundleOf(name))
  // one after another: the files share the guest's two processors and its pools' names
  const command = ['node', '--no-deprecation', '--test', '--test-concurrency=1', ...files]
  process.exitCode = await runInGuest({ command, memoryMib: 6144, seconds: SECONDS }, write)
}
