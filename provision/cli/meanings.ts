import { EXIT_CODES, type ExitName } from '../core/errors.ts'

const MEANINGS: Readonly<Record<ExitName, string>> = {
  ok: 'done, and proved where there is something to prove',
  failed: 'a command failed in a way knox does not know, or a bug in knox',
  usage: 'the command line is wrong',
  config: 'knox.yaml or a file it needs is missing or wrong',
  refused:
    'needs a confirmation (--yes, --force, --erase, --accept-deletions) that was not given, or would touch what is there',
  partial: 'some datasets arrived, others did not',
  unreachable: 'the box does not answer at any of its addresses',
  busy: 'another run, here or on the box, is under way',
  'key-rejected': 'the disk key, a certificate or a passphrase is not accepted, or another machine answers',
  diverged: 'no common snapshot, or home and box have gone different ways',
  verification:
    'what the box lists is not what was sent, a file’s content is another there, or its disk is damaged',
  platform: 'a program or platform that is needed is missing',
  'send-failed': 'zfs send failed at home',
  'receive-failed': 'zfs receive failed on the box',
  'no-space': 'the box, a pool at home or a drive has no room for it',
  'connection-lost': 'the connection to the box broke',
  'left-unlocked': 'the box could not lock its disk, and restarts: see that it comes back',
  disk: 'the box’s disk is missing or does not answer, or its pool cannot be imported',
  interrupted: 'stopped by the owner',
}

/** What an exit code means, in one sentence. */
export const meaningOf = (exit: ExitName): string => MEANINGS[exit]

/** The exit code table, as `--help` prints it. */
export const exitCodeTable = (): string =>
  Object.entries(EXIT_CODES)
    .map(
      ([name, code]) => `  ${code.toString().padStart(3)}  ${name.padEnd(15)}  ${MEANINGS[name as ExitName]}`,
    )
    .join('\n')
