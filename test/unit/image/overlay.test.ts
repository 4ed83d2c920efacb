import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { describe, test } from 'node:test'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { overlayFrom, overlayOf, type OverlayFile } from '../../../provision/image/overlay.ts'
import { KNOWN_BRANCHES } from '../../../provision/image/releases.ts'
import { readTemplates } from '../../../provision/image/render.ts'
import { BOXES, boxOf, KEYS, keyFiles, knoxError, overlay, textIn } from './helpers.ts'

/** Golden files: UPDATE_GOLDEN=1 writes them anew, then look at the difference. */
const FIXTURES = new URL('../../fixtures/overlay/', import.meta.url).pathname
const UPDATE = process.env['UPDATE_GOLDEN'] === '1'

const manifestLine = ({ path, mode, owner, content }: OverlayFile): string => {
  const what = typeof content === 'object' && 'linkTo' in content ? ` -> ${content.linkTo}` : ''
  const secret = content instanceof Secret ? ` ${content.toString()}` : ''
  return `${mode.toString(8).padStart(4, '0')} ${owner.uid}:${owner.gid} ${path}${what}${secret}\n`
}

/** Path and text of what is kept: all but the box's script, which its own tests look at, and what is not text. */
const goldenOf = (files: readonly OverlayFile[]): ReadonlyMap<string, string> => {
  const texts = files.flatMap(({ path, content }) =>
    typeof content === 'string' && path !== BOX_SCRIPT ? [[path.slice(1), content] as const] : [],
  )
  return new Map([['MANIFEST', files.map(manifestLine).join('')], ...texts])
}

const filesIn = async (folder: string): Promise<readonly string[]> => {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  return entries.filter((e) => e.isFile()).map((e) => relative(folder, join(e.parentPath, e.name)))
}

const update = async (folder: string, golden: ReadonlyMap<string, string>): Promise<void> => {
  await rm(folder, { recursive: true, force: true })
  for (const [path, text] of golden) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

describe('the overlay', () => {
  for (const [name, keys] of Object.entries(BOXES))
    test(`of ${name} is the golden one, file by file`, async () => {
      const golden = goldenOf(await overlay(keys))
      const folder = join(FIXTURES, name)
      if (UPDATE) await update(folder, golden)
      assert.deepEqual([...(await filesIn(folder))].sort(), [...golden.keys()].sort())
      for (const [path, text] of golden)
        assert.equal(text, await readFile(join(folder, path), 'utf8'), `${name}/${path}`)
    })

  test('is the same every time', async () => {
    for (const keys of Object.values(BOXES)) assert.deepEqual(await overlay(keys), await overlay(keys))
  })

  test('every file ends its last line, holds no trace of the template, and no tail of blanks', async () => {
    for (const branch of KNOWN_BRANCHES)
      for (const keys of Object.values(BOXES))
        for (const { path, content } of await overlay({ ...keys, release: branch })) {
          if (typeof content !== 'string' || path === BOX_SCRIPT) continue
          assert.match(content, /[^\n]\n$/, path)
          assert.doesNotMatch(content, /\{\{|\}\}|undefined|\[object|&#|&quot;/, path)
          assert.doesNotMatch(content, /[ \t]\n/, path)
        }
  })

  test('the script of the box gets its name, disk and pool, in single quotes and nowhere else', async () => {
    const template = (await readTemplates()).get('knox-zfs-receive.sh') ?? ''
    const files = await overlay({ name: 'attic', disk: 'diskid/DISK-A_1.b', pool: 'co:py' })
    const filled = template
      .replaceAll('{{name}}', 'attic')
      .replaceAll('{{disk}}', 'diskid/DISK-A_1.b')
      .replaceAll('{{pool}}', 'co:py')
    const script = textIn(files, BOX_SCRIPT)
    assert.equal(script, filled)
    for (const line of ["name='attic'", "disk='diskid/DISK-A_1.b'", "pool='co:py'"])
      assert.ok(script.split('\n').includes(line), line)
  })

  test('secrets are secrets: the host key and its seed stand in no text, and print as labels', async () => {
    const files = await overlay()
    const hidden = files.filter(({ content }) => content instanceof Secret)
    assert.deepEqual(
      hidden.map(({ path, mode }) => [path, mode]),
      [
        ['/entropy', 0o600],
        ['/etc/ssh/ssh_host_ed25519_key', 0o600],
      ],
    )
    const key = keyFiles(1).secret.reveal()
    assert.deepEqual((hidden[1]?.content as Secret).reveal(), key)
    const printed = JSON.stringify(files)
    assert.ok(printed.includes('[secret host key]') && !printed.includes('PRIVATE'))
    for (const line of key
      .toString()
      .split('\n')
      .filter((text) => text.length > 20 && !text.startsWith('-')))
      assert.ok(!printed.includes(line))
  })

  test('only scripts can be executed, only root can write, nobody else reads a secret', async () => {
    for (const keys of Object.values(BOXES))
      for (const { path, mode, owner, content } of await overlay(keys)) {
        assert.deepEqual(owner, { uid: 0, gid: 0 })
        if (typeof content === 'object' && 'linkTo' in content) continue
        const expected = content instanceof Secret ? 0o600 : path.endsWith('.sh') ? 0o700 : 0o644
        assert.equal(mode, expected, path)
      }
  })

  test('hostid and machine-id are those of the host key: fixed, lower case, another for another key', async () => {
    const hostid = textIn(await overlay(), '/etc/hostid')
    assert.match(hostid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$/)
    assert.equal(textIn(await overlay(), '/etc/machine-id'), hostid.replaceAll('-', ''))
    assert.equal(textIn(await overlay({ name: 'other', board: 'laptop' }), '/etc/hostid'), hostid)
    const other = await overlayOf(boxOf(), { ...KEYS, hostUuid: '00000000-0000-8000-8000-000000000001' })
    assert.notEqual(textIn(other, '/etc/hostid'), hostid)
  })

  test('a box of the network has a link for its name servers, a static one a file', async () => {
    const dhcp = await overlay()
    const link = dhcp.find(({ path }) => path === '/etc/resolv.conf')
    assert.deepEqual(link?.content, { linkTo: '/var/run/resolv.conf' })
    assert.match(textIn(dhcp, '/etc/resolvconf.conf'), /^resolv_conf=\/var\/run\/resolv\.conf$/m)
    const fixed = await overlay(BOXES['laptop-static-13.2'])
    assert.match(textIn(fixed, '/etc/resolv.conf'), /^nameserver 192\.168\.1\.1$/m)
    assert.equal(
      fixed.some(({ path }) => path === '/etc/resolvconf.conf'),
      false,
    )
  })

  test('values that the schema would never let through are refused all the same', async () => {
    const templates = await readTemplates()
    const hostile = ["wd'; reboot #", 'a\nPermitEmptyPasswords yes', 'a"b', 'x\0', 'a\tb', '$(x)', '']
    for (const value of hostile) {
      for (const key of ['name', 'pool', 'disk', 'keymap', 'interface', 'nameserver', 'root', 'swap'])
        assert.throws(
          () => overlayFrom(templates, { ...boxOf(), [key]: value }, KEYS),
          knoxError('config'),
          `${key}: ${JSON.stringify(value)}`,
        )
      const network = { address: '10.0.0.2/24', gateway: '10.0.0.1' }
      for (const key of ['address', 'gateway'])
        assert.throws(
          () => overlayFrom(templates, { ...boxOf(), network: { ...network, [key]: value } }, KEYS),
          knoxError('config'),
        )
    }
    assert.throws(
      () => overlayFrom(templates, { ...boxOf(), release: 'releng/9.3' }, KEYS),
      knoxError('config', /does not know/),
    )
  })

  test('a template that asks for what there is not is an error', async () => {
    const templates = new Map([...(await readTemplates()), ['ttys', '{{#if nothing}}x{{/if}}']])
    assert.throws(() => overlayFrom(templates, boxOf(), KEYS), knoxError('config', /nothing/))
    const fewer = new Map([...templates].filter(([name]) => name !== 'fstab'))
    assert.throws(() => overlayFrom(fewer, boxOf(), KEYS), knoxError('config', /fstab/))
  })
})
