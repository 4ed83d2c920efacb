import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { describeHoldings } from '../provision/cli/describe.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { NAMES } from '../provision/core/names.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import { drill } from '../provision/runtime/drill.ts'
import { listBox } from '../provision/runtime/list-box.ts'
import { restoreDatasets } from '../provision/runtime/restore.ts'
import { restoreFiles } from '../provision/runtime/restore-files.ts'

/** The box's name for a dataset that is named as at home. */
const boxName = (name: string, pools: { readonly home: string; readonly box: string }): string => {
  if (name === pools.home || name.startsWith(`${pools.home}/`))
    return pools.box + name.slice(pools.home.length)
  throw new KnoxError('usage', `${name} is not below ${pools.home}`, [
    'datasets are named as at home, such as POOL/photos',
  ])
}

const wordsOf = (knox: Knox): { readonly name: string; readonly to: string } => {
  const [name, ...more] = knox.positionals
  const to = knox.args.text('to')
  if (name === undefined || to === undefined || more.length > 0)
    throw new KnoxError('usage', 'knox restore takes one dataset and --to', [
      'a dataset:  knox restore tank/photos --to tank/photos-again',
      'some files: knox restore tank/photos --file 2015/cat.jpg --to /tmp/cat',
      'what there is: knox restore --list',
    ])
  if (knox.args.text('file') === undefined && !NAMES.dataset.pattern.test(to))
    throw new KnoxError('usage', `${JSON.stringify(to)} is not a dataset`, [
      `expected ${NAMES.dataset.expected}`,
    ])
  return { name, to }
}

/** Exit: 0 restored and compared, 2 usage, 3 no such dataset, 4 something else is there, 5 a setting not brought back, 12 wrong passphrase, 14 not the same. */
export const restore = defineCommand({
  name: 'restore',
  summary: 'bring a file, a dataset or the whole pool back from the box, and compare',
  positionals: 'DATASET',
  options: {
    to: { type: 'string', value: 'TARGET', help: 'a dataset of a pool here; with --file a new folder' },
    file: { type: 'string', value: 'PATH', help: 'only this file or folder of the dataset' },
    snapshot: { type: 'string', value: 'NAME', help: 'with --file: as it was then (default: the newest)' },
    overwrite: { type: 'boolean', help: 'the target may exist, without snapshots; its files are lost' },
    drill: {
      type: 'boolean',
      help: 'try it: bring some files back, compare them with home, throw them away',
    },
    list: { type: 'boolean', help: 'show the box’s datasets and snapshots' },
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      help: 'passphrase of the login knox-shell, first line',
    },
  },
  details:
    'Datasets are named as at home. A dataset comes with all below it and every snapshot; run again, it goes on where it stopped.\n' +
    'The whole pool onto a new disk: zpool create NEW DISK, then knox restore POOL --to NEW --overwrite.',
  run: async (knox) => {
    const config = await knox.config()
    if (knox.dryRun && (knox.args.flag('list') || knox.args.flag('drill'))) {
      const what = knox.args.flag('list') ? 'list what is there' : 'bring some files back and compare them'
      knox.result(`would unlock the box’s disk, ${what}, and lock it again`, {})
      return undefined
    }
    if (knox.args.flag('list')) {
      const found = await listBox(config, await knox.passphrase('passphrase of the keys'), knox.emit)
      knox.result(describeHoldings(found), found)
      return undefined
    }
    if (knox.args.flag('drill')) {
      const { files, bytes } = await drill(config, await knox.passphrase('passphrase of the keys'), knox.emit)
      const list = files.map((file) => `  ${file}`).join('\n')
      knox.result(`${files.length} files (${formatBytes(bytes)}) came back as home has them:\n${list}`, {
        files,
        bytes,
      })
      return undefined
    }
    const { name, to } = wordsOf(knox)
    const source = boxName(name, { home: config.home.pool, box: config.box.pool })
    const path = knox.args.text('file')
    const overwrite = knox.args.flag('overwrite')
    if (knox.dryRun) {
      const what = path === undefined ? source : `${path} of ${source}`
      knox.result(`would bring ${what} to ${to}`, { source, path, to })
      return undefined
    }
    if (overwrite) await knox.confirm(`everything in ${to} will be lost; go on?`)
    const passphrase = await knox.passphrase('passphrase of the keys')
    if (path !== undefined) {
      const options = { source, snapshot: knox.args.text('snapshot'), path, target: to }
      const report = await restoreFiles(config, options, passphrase, knox.emit)
      knox.result(
        `${report.files} files of @${report.snapshot} are in ${report.target}, the same as on the box`,
        report,
      )
      return undefined
    }
    const report = await restoreDatasets(config, { source, target: to, overwrite }, passphrase, knox.emit)
    knox.result(
      `${report.datasets} datasets with ${report.snapshots} snapshots are in ${to}, as on the box (${formatBytes(report.bytes)} came); ` +
        `nothing is mounted yet: zfs get -r mountpoint ${to}, then zfs mount -a`,
      report,
    )
    return undefined
  },
})
