/** A reporter of node's test runner that tells only what failed, and why: said again at the end of a long run. */

const SHOWN = 1500

export default async function* failedTests(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:fail') continue
    const { error } = data.details
    // a suite fails with its tests, which were told
    if (error.failureType === 'subtestsFailed') continue
    const reason = error.cause?.stack ?? error.cause ?? error.message
    yield `✖ ${data.name} (${data.file})\n${String(reason).slice(0, SHOWN)}\n`
  }
}
