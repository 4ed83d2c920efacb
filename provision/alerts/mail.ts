import { printable } from '../core/names.ts'
import { formatDuration } from '../core/sizes.ts'
import type { LastRun } from '../runtime/last-run.ts'
import { run } from '../system/process.ts'

/** seconds; a mail server that is far away must not hold up the end of a run for long */
const LIMIT = 60
const LONGEST_HEADER = 200
/** RFC 5322 section 2.1.1 allows 998 bytes; four of them a letter at most */
const LONGEST_LINE = 240

/** ASCII that can be seen, on one line: nothing of it can begin a header. */
const headerValue = (text: string): string =>
  text
    .replace(/[^ -~]/g, '?')
    .slice(0, LONGEST_HEADER)
    .trim()

/** One line of text, or several if it is long. */
const bodyLines = (text: string): readonly string[] =>
  printable(text).match(new RegExp(`.{1,${LONGEST_LINE}}`, 'gu')) ?? ['']

/** The mail about a run that failed, headers and all; `age` is that of the last proof in seconds. */
export const composeMail = (to: string, host: string, last: LastRun, age: number | undefined): string => {
  const proof =
    age === undefined
      ? 'Nothing was ever proved to be on the box.'
      : `The last proof that the box has everything is ${formatDuration(age)} old.`
  const headers = [
    `To: ${headerValue(to)}`,
    `Subject: ${headerValue(`knox on ${host}: ${last.verb} with the box ${last.box} failed (exit ${last.code})`)}`,
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
  ]
  const body = [
    `knox ${last.verb} with the box ${last.box} failed:`,
    '',
    ...bodyLines(`  ${last.message}`),
    ...last.hints.flatMap((hint) => bodyLines(`  hint: ${hint}`)),
    '',
    proof,
    '',
    `It ran from ${last.started} to ${last.ended} and ended with exit code ${last.code} (${last.exit}).`,
    'knox doctor, at home, looks at the whole chain and says what to mend.',
  ]
  return `${[...headers, '', ...body.flatMap(bodyLines)].join('\n')}\n`
}

/** Hands a mail to sendmail(8), which every mail server brings; undefined, or why it did not work. */
export const sendMail = async (text: string, limit = LIMIT): Promise<string | undefined> => {
  const { exitCode, signal } = await run(['sendmail', '-i', '-t'], {
    stdin: text,
    // cron's own PATH ends before it
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/lib` },
    timeout: limit,
    evenWhenStopped: true,
  })
  if (exitCode === 0) return undefined
  if (exitCode === 127) return 'there is no sendmail on this machine'
  return signal === 'SIGKILL'
    ? `sendmail took longer than ${limit} s`
    : `sendmail ended with ${String(exitCode ?? signal)}`
}
