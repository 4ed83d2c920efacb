import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import { BOXES, overlay, textIn } from './helpers.ts'

/** Mistakes of the tutorial that the box's files must not have again; the others are tested where they could come back. */

/** without comments */
const scriptLines = async (): Promise<readonly string[]> =>
  textIn(await overlay(), BOX_SCRIPT)
    .split('\n')
    .map((line) => line.replace(/^\s*#.*|\s{2,}#.*/, ''))

describe('the box’s files', () => {
  test('switch no vdev cache on (facts 11.25)', async () => {
    for (const keys of Object.values(BOXES))
      assert.doesNotMatch(textIn(await overlay(keys), '/boot/loader.conf'), /^vfs\.zfs\.vdev\.cache/m)
  })

  test('keep the pipe where only root is, not in /tmp under a name that all know (facts 11.9)', async () => {
    const lines = await scriptLines()
    assert.ok(lines.includes('run=/var/run/knox'))
    assert.ok(lines.some((line) => line.includes('mkdir -p "$run" && chmod 700 "$run"')))
    assert.deepEqual(
      lines.filter((line) => line.includes('/tmp') || line.includes('rm -P')),
      [],
    )
    assert.ok(lines.some((line) => line.includes('mkfifo -m 600 "$fifo"')))
  })

  test('import by -N below a root of their own, and never mount all (facts 11.8, 11.34)', async () => {
    const text = (await scriptLines()).join('\n')
    assert.equal(text.match(/zpool import/g)?.length, 1)
    assert.match(text, /zpool import -f -N -R "\$run\/mnt" -o cachefile=none "\$pool"/)
    assert.doesNotMatch(text, /zfs mount|mount -a/)
  })

  test('set their own properties after the first stream, which would wipe them (facts 11.24)', async () => {
    const text = (await scriptLines()).join('\n')
    const receive = text.slice(text.indexOf('\nreceive() {'), text.indexOf('\nkeep_quiet() {'))
    assert.ok(receive.indexOf('keep_quiet "$dataset"') > receive.indexOf('zfs receive -u'))
    assert.match(
      text,
      /setting in canmount=noauto [^]*zfs set readonly=on "\$1"[^]*zfs set compression=lz4 "\$1"/,
    )
  })

  test('never destroy a pool, nor detach what zpool calls so (facts 11.20)', async () => {
    assert.doesNotMatch((await scriptLines()).join('\n'), /zpool (?:destroy|detach|labelclear|create)/)
  })

  test('have resolv.conf as one of their own, below the root that is given (facts 11.17)', async () => {
    for (const keys of Object.values(BOXES)) {
      const paths = (await overlay(keys)).map(({ path }) => path)
      assert.ok(paths.includes('/etc/resolv.conf'), paths.join(' '))
    }
  })
})
