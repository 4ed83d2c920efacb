import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { composeMail } from '../../../provision/alerts/mail.ts'
import { lastRun } from './home.ts'

const HEADERS = [
  'To',
  'Subject',
  'Auto-Submitted',
  'MIME-Version',
  'Content-Type',
  'Content-Transfer-Encoding',
]

test('a mail says what failed, the hints, and the age of the last proof', () => {
  assert.equal(
    composeMail('me@example.net', 'attic', lastRun(), 180_000),
    [
      'To: me@example.net',
      'Subject: knox on attic: snapback with the box knox failed (exit 10)',
      'Auto-Submitted: auto-generated',
      'MIME-Version: 1.0',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: 8bit',
      '',
      'knox snapback with the box knox failed:',
      '',
      '  the box does not answer',
      '  hint: is it switched on, and reachable from here?',
      '',
      'The last proof that the box has everything is 2 d 2 h old.',
      '',
      'It ran from 2026-11-23T08:59:00.000Z to 2026-11-23T09:00:00.000Z and ended with exit code 10 (unreachable).',
      'knox doctor, at home, looks at the whole chain and says what to mend.',
      '',
    ].join('\n'),
  )
})

test('whatever stands in a run, no header is added, no line is too long, and no letter moves the terminal', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 600 }),
    fc
      .array(
        fc.constantFrom(
          ...[
            '\r\n',
            '\n',
            '\r',
            '\u2028',
            '\u0085',
            '\0',
            'Bcc: x@y.z',
            '\nBcc: x@y.z\n\n',
            '.',
            'ä€😀',
            ' ',
          ],
          'x'.repeat(400),
        ),
      )
      .map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(
      text,
      text,
      text,
      fc.array(text, { maxLength: 4 }),
      text,
      (to, host, message, hints, name) => {
        const mail = composeMail(to, host, lastRun({ message, hints, box: name, verb: name }), undefined)
        const end = mail.indexOf('\n\n')
        const lines = mail.slice(0, end).split('\n')
        assert.deepEqual(
          lines.map((line) => line.split(':')[0]),
          HEADERS,
        )
        for (const line of lines) assert.match(line, /^[ -~]{1,260}$/)
        for (const line of mail.split('\n')) assert.ok(Buffer.byteLength(line) <= 998, line)
        assert.doesNotMatch(mail.replaceAll('\n', ''), /[\p{Cc}\u2028\u2029]/u)
      },
    ),
    { numRuns: 500 },
  )
})
