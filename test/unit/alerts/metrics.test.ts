import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { metricsText, writeMetrics } from '../../../provision/alerts/metrics.ts'
import type { DatasetStatus } from '../../../provision/runtime/status.ts'
import { tempFolder } from '../../support/expect.ts'
import { lastRun } from './home.ts'

const dataset = (state: DatasetStatus['state']): DatasetStatus => ({
  dataset: 'wd',
  snapshots: 1,
  home: 'a',
  box: 'a',
  lacks: undefined,
  state,
})

const GOLDEN = `# HELP knox_last_proof_timestamp_seconds When the box last proved what it holds.
# TYPE knox_last_proof_timestamp_seconds gauge
knox_last_proof_timestamp_seconds{box="knox"} 1795428000.5
# HELP knox_last_success_timestamp_seconds When a backup last ended well: proved, or asked the box and found nothing to send.
# TYPE knox_last_success_timestamp_seconds gauge
knox_last_success_timestamp_seconds{box="knox"} 1795431600
# HELP knox_last_run_timestamp_seconds When the last backup ended, be it well or not.
# TYPE knox_last_run_timestamp_seconds gauge
knox_last_run_timestamp_seconds{box="knox"} 1795424400
# HELP knox_last_run_exit_code Exit code of the last backup; 0 is success.
# TYPE knox_last_run_exit_code gauge
knox_last_run_exit_code{box="knox"} 10
# HELP knox_last_run_bytes Bytes that the last backup sent.
# TYPE knox_last_run_bytes gauge
knox_last_run_bytes{box="knox"} 4096
# HELP knox_datasets Datasets by how home and box stand.
# TYPE knox_datasets gauge
knox_datasets{box="knox",state="proved"} 2
knox_datasets{box="knox",state="behind"} 1
knox_datasets{box="knox",state="not-on-box"} 0
knox_datasets{box="knox",state="no-snapshot"} 0
knox_datasets{box="knox",state="box-only"} 0
# HELP knox_box_used_bytes Bytes used in the pool of the box at the last proof.
# TYPE knox_box_used_bytes gauge
knox_box_used_bytes{box="knox"} 1000
# HELP knox_box_available_bytes Bytes free in the pool of the box at the last proof.
# TYPE knox_box_available_bytes gauge
knox_box_available_bytes{box="knox"} 9000000000000
`

test('the metrics are text that Prometheus reads', () => {
  const text = metricsText('knox', lastRun({ bytes: 4096, succeeded: '2026-11-23T11:00:00.000Z' }), {
    provedAt: '2026-11-23T10:00:00.500Z',
    used: 1000,
    available: 9e12,
    datasets: [dataset('proved'), dataset('proved'), dataset('behind')],
  })
  assert.equal(text, GOLDEN)
})

test('what is not known is left out, with its heading', () => {
  const text = metricsText('knox', lastRun(), {})
  assert.deepEqual(
    text.split('\n').filter((line) => !line.startsWith('#')),
    ['knox_last_run_timestamp_seconds{box="knox"} 1795424400', 'knox_last_run_exit_code{box="knox"} 10', ''],
  )
  assert.equal(text.split('\n').filter((line) => line.startsWith('# TYPE')).length, 2)
})

test('the file is replaced in one step, and others may read it', async (t) => {
  const dir = await tempFolder(t)
  const path = join(dir, 'knox.prom')
  await writeFile(path, 'old\n')
  await chmod(path, 0o600)
  await writeMetrics(path, 'new\n')
  assert.equal(await readFile(path, 'utf8'), 'new\n')
  assert.equal((await stat(path)).mode & 0o777, 0o644)
  assert.deepEqual(await readdir(dir), ['knox.prom'])
  await mkdir(join(dir, 'x.prom'))
  await assert.rejects(writeMetrics(join(dir, 'x.prom'), 'new\n'))
  assert.deepEqual((await readdir(dir)).sort(), ['knox.prom', 'x.prom'])
})
