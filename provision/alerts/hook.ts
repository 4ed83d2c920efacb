import type { LastRun } from '../runtime/last-run.ts'
import { run } from '../system/process.ts'

/** seconds; then it is killed */
const LIMIT = 60

/**
 * Hands the run to the owner's program: as JSON on stdin, its outcome in KNOX_OUTCOME and KNOX_EXIT_CODE. No shell reads
 * anything of it. Undefined, or why it did not work.
 */
export const runHook = async (path: string, last: LastRun, limit = LIMIT): Promise<string | undefined> => {
  const { exitCode, signal } = await run([path], {
    stdin: `${JSON.stringify(last)}\n`,
    env: { KNOX_OUTCOME: last.exit, KNOX_EXIT_CODE: last.code.toString() },
    timeout: limit,
    evenWhenStopped: true,
  })
  if (exitCode === 0) return undefined
  if (exitCode === 126 || exitCode === 127) return 'it cannot be run'
  return signal === 'SIGKILL'
    ? `it did not end within ${limit} s`
    : `it ended with ${String(exitCode ?? signal)}`
}
