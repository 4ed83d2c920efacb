import type { Change, Read, Runner, StderrRule } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { quoteAll } from '../core/quote.ts'
import { run, type Output, type Result } from './process.ts'

/** Where commands run: here, or at the far end of an ssh connection. */
export interface Place {
  readonly name: string
  /** the argv that runs argv there */
  readonly wrap: (argv: readonly string[]) => readonly string[]
  readonly failures: readonly StderrRule[]
}

export const HERE: Place = { name: 'home', wrap: (argv) => argv, failures: [] }

const lastLines = (stderr: string): string => printable(stderr.trim().split('\n').slice(-3).join(' / '))

/** The error for a process that failed: the first rule that matches its stderr, or the plain facts. */
export const failureOf = (result: Result, rules: readonly StderrRule[], where = 'here'): KnoxError => {
  const rule = rules.find(({ pattern }) => pattern.test(result.stderr))
  const evidence = lastLines(result.stderr)
  if (rule !== undefined)
    return new KnoxError(rule.code, rule.message, [...(rule.hints ?? []), `it said: ${evidence}`])
  const command = quoteAll(result.argv)
  if (result.exitCode === 127)
    return new KnoxError('platform', `${result.argv[0] ?? ''} is not installed ${where}`, [
      `tried: ${command}`,
    ])
  const how = result.signal ?? `exit ${String(result.exitCode)}`
  return new KnoxError(
    'failed',
    `a command failed (${how}): ${command}`,
    evidence === '' ? [] : [`it said: ${evidence}`],
  )
}

/** ssh often says nothing at all where a connection ends that it shares */
const brokenTo = ({ name }: Place, { hints }: KnoxError): KnoxError =>
  new KnoxError('connection-lost', `the connection to ${name} broke`, [...hints, 'run it again'])

/**
 * Runs commands at a place; `timeout` in seconds bounds each of them. With `evenWhenStopped` they run although the owner
 * wants an end: for taking down only.
 */
export const runnerAt = (place: Place, emit: Emit, timeout = 600, evenWhenStopped = false): Runner => {
  const execute = async (command: Read<unknown> | Change): Promise<Output> => {
    emit({ type: 'command', argv: command.argv, where: place.name })
    const stdin = command.stdin === undefined ? {} : { stdin: command.stdin }
    const output = await run(place.wrap(command.argv), { timeout, evenWhenStopped, ...stdin })
    if (output.exitCode === 0) return output
    const own = command.failures ?? []
    const result = { ...output, argv: command.argv }
    if (place === HERE) throw failureOf(result, own)
    // 255 is ssh's own; what a command at the far end says is never taken for a fault of the connection
    if (output.exitCode !== 255) throw failureOf(result, own, `on ${place.name}`)
    const failure = failureOf(result, [...place.failures, ...own])
    throw failure.code === 'failed' ? brokenTo(place, failure) : failure
  }
  return {
    read: async (command) => command.parse((await execute(command)).stdout),
    act: async (command) => {
      await execute(command)
    },
  }
}

/** A runner that reads, and hands every change to `show` instead of doing it. */
export const dryRunner = (runner: Runner, show: (command: Change) => void): Runner => ({
  read: (command) => runner.read(command),
  act: (command) => {
    show(command)
    return Promise.resolve()
  },
})
