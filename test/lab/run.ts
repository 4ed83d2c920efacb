import { readdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { bundle, bundleOf } from '../../provision/lab/bundle.ts'
import { labProblem } from '../../provision/lab/host.ts'
import { runInGuest } from '../../provision/lab/microvm.ts'

/**
 * Runs test/lab/*.test.ts, each file in a guest of the lab; `NAME ...` picks files. Where there can be no lab it says why.
 * KNOX_TEST_UNTIL, in seconds since 1970: files that have not begun by then are skipped, and said.
 */

const SECONDS = 3000
/** guests at once: an emulated processor keeps one real one busy */
const GUESTS = Math.min(2, availableParallelism())

/** long ones first, so that none is left alone at the end; then what a slow machine must not skip */
const LONGEST_FIRST = ['failures', 'backup', 'restore', 'setup', 'resume', 'change-disk', 'prune', 'verify']
const place = (name: string): number => {
  const index = LONGEST_FIRST.indexOf(name.replace('.test.ts', ''))
  return index < 0 ? LONGEST_FIRST.length : index
}

const until = Number(process.env['KNOX_TEST_UNTIL'] ?? Number.POSITIVE_INFINITY) * 1000

/** node's reporter says at a file's end what failed in it, and why */
const FAILURES = '✖ failing tests:'

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
    .sort((a, b) => place(a) - place(b))
  const tests = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)))
  await bundle(tests.map((name) => `test/lab/${name}`))
  const queue = [...tests]
  const counts = { pass: 0, fail: 0, skipped: 0 }
  const failures: string[] = []
  const runNext = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const title = name.replace('.test.ts', '')
      if (Date.now() > until) {
        write(`${title}: skipped, not begun: the time is over`)
        counts.skipped += 1
        continue
      }
      const command = ['node', '--no-deprecation', '--test', bundleOf(name)]
      let isTelling = false
      const onLine = (line: string): void => {
        const text = `${title}: ${line}` // two guests speak at once
        write(text)
        isTelling ||= line === FAILURES
        if (isTelling) failures.push(text)
        const [, what, count] = /^ℹ (pass|fail|skipped) ([0-9]+)$/.exec(line) ?? []
        if (what !== undefined) counts[what as keyof typeof counts] += Number(count)
      }
      const exitCode = await runInGuest({ command, memoryMib: 6144, seconds: SECONDS }, onLine).catch(
        (error: unknown) => {
          onLine(String(error))
          return 1
        },
      )
      if (exitCode !== 0) process.exitCode = 1
    }
  }
  await Promise.all(Array.from({ length: GUESTS }, runNext))
  for (const line of failures) write(line)
  write(`lab: ${counts.pass} passed, ${counts.fail} failed, ${counts.skipped} skipped`)
}
