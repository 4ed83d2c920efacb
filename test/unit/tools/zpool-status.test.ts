import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePoolStatus } from '../../../provision/tools/zpool-status.ts'

const status = (scan: string, errors = 'No known data errors', state = 'ONLINE') =>
  `  pool: wd\n state: ${state}\n${scan}config:\n\n\tNAME          STATE     READ WRITE CKSUM\n\twd            ${state}       0     0     0\n\t  da0.eli     ONLINE       0     0     0\n\nerrors: ${errors}`.split(
    '\n',
  )

// the words of FreeBSD 10.2 and those of OpenZFS 2
const CASES = [
  ['', 'none', undefined, 0],
  ['  scan: none requested\n', 'none', undefined, 0],
  [
    '  scan: scrub in progress since Sun Jul 26 16:07:49 2015\n        403M scanned out of 40.5G at 10.1M/s, 1h7m to go\n        0 repaired, 0.97% done\n',
    'running',
    0.97,
    0,
  ],
  [
    '  scan: scrub in progress since Tue Nov 24 02:00:00 2026\n\t1.02G scanned at 1.02G/s, 12M issued at 12M/s, 1.02G total\n\t0B repaired, 1.15% done, 00:01:22 to go\n',
    'running',
    1.15,
    0,
  ],
  [
    '  scan: scrub paused since Tue Nov 24 02:00:00 2026\n\tscrub started on Tue Nov 24 01:00:00 2026\n\t1.02G scanned, 12M issued, 1.02G total\n\t0B repaired, 33.10% done\n',
    'paused',
    33.1,
    0,
  ],
  ['  scan: scrub canceled on Tue Nov 24 02:00:00 2026\n', 'stopped', undefined, 0],
  ['  scan: scrub repaired 0 in 0h0m with 0 errors on Sun Jul 26 16:10:00 2015\n', 'finished', undefined, 0],
  [
    '  scan: scrub repaired 0B in 00:00:01 with 3 errors on Tue Nov 24 02:00:00 2026\n',
    'finished',
    undefined,
    3,
  ],
] as const

test('what zpool status tells of a scrub, in the words of 10.2 and of OpenZFS 2', () => {
  for (const [scan, scrub, percent, errors] of CASES)
    assert.deepEqual(parsePoolStatus(status(scan)), { state: 'ONLINE', scrub, percent, errors, damaged: [] })
})

test('files that are damaged for good are named, also where zpool knows only their numbers', () => {
  const named = status(
    '',
    'Permanent errors have been detected in the following files:\n\n        wd/photos@a:/cat.jpg\n        wd/x:<0x1>\n',
  )
  assert.deepEqual(parsePoolStatus(named).damaged, ['wd/photos@a:/cat.jpg', 'wd/x:<0x1>'])
  assert.deepEqual(parsePoolStatus(status('', "2 data errors, use '-v' for a list", 'DEGRADED')), {
    ...{ state: 'DEGRADED', scrub: 'none', percent: undefined, errors: 0 },
    damaged: ["2 data errors, use '-v' for a list"],
  })
})

test('a device whose errors were counted is named, although all of it was repaired', () => {
  const finished = '  scan: scrub repaired 1.2M in 00:10:00 with 0 errors on Tue Nov 24 01:10:00 2026\n'
  const lines = status(finished).map((line) => line.replace(/(da0\.eli .*)0     0     0/, '$13     0 1.2K'))
  assert.deepEqual(parsePoolStatus(lines).damaged, [
    'da0.eli: errors: 3 reading, 0 writing, 1.2K in checksums',
  ])
})
