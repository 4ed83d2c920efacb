import { check as look, PLUGIN_CODES, unknown } from '../provision/alerts/check.ts'
import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError, messageOf } from '../provision/core/errors.ts'
import { parseDuration } from '../provision/core/sizes.ts'

/** Exit codes of its own, those of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. */
export const check = defineCommand({
  name: 'check',
  summary: 'for Nagios and its kin: one line that says whether the backup is in order',
  details:
    'Looks at home only: neither the box nor a person is asked. Exit codes of this verb: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. ' +
    'A last proof older than --max-age is a warning, older than twice that critical.',
  options: {
    'max-age': { type: 'string', value: 'TIME', help: 'such as 36h or 2d (default: alerts.max-age, 2d)' },
  },
  failed: (error) => ({
    text: unknown(error),
    value: { state: 'UNKNOWN', line: unknown(error), message: messageOf(error) },
    code: PLUGIN_CODES.UNKNOWN,
  }),
  run: async (knox) => {
    const text = knox.args.text('max-age')
    const said = text === undefined ? undefined : parseDuration(text)
    if (text !== undefined && said === undefined)
      throw new KnoxError('usage', `${JSON.stringify(text)} is not a time`, ['such as 36h or 2d'])
    const config = await knox.config()
    const found = await look(config, said ?? config.alerts['max-age'], knox.emit, new Date())
    knox.result(found.line, found)
    return PLUGIN_CODES[found.state]
  },
})
