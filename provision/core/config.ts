import * as z from 'zod'
import { NAMES, parseAddress, type NameRule } from './names.ts'
import { parseDuration } from './sizes.ts'

/** The schema of knox.yaml: unknown keys are refused, every default stands here. */

const named = (rule: NameRule) =>
  z.string().regex(rule.pattern, { error: `is not a ${rule.what}: expected ${rule.expected}` })

const address = z.string().refine((text) => parseAddress(text) !== undefined, {
  error: 'is not an address: expected host, host:port or [ipv6]:port',
})

const ipv4 = z.ipv4({ error: 'is not an IPv4 address' })

const network = z.union(
  [
    z.literal('dhcp'),
    z.strictObject({
      address: z.cidrv4({ error: 'is not an IPv4 address with a prefix, such as 192.168.1.13/24' }),
      gateway: ipv4,
    }),
  ],
  { error: 'is neither dhcp nor {address: 192.168.1.13/24, gateway: 192.168.1.1}' },
)

/** a disk, slice or partition of the box's own system: ada0p2, mmcsd0s2a */
const partition = z.string().regex(/^[a-z]{2,8}[0-9]{1,3}(?:[sp][0-9]{1,2}[a-h]?)?$/, {
  error: 'is not a FreeBSD partition such as ada0p2 or mmcsd0s2a',
})

export const BOARDS = ['rpi-b', 'laptop'] as const
export type Board = (typeof BOARDS)[number]

/** where crochet (rpi-b) and the FreeBSD installer (laptop) put the system, and the usual network card */
const BOARD_DEFAULTS = {
  'rpi-b': { root: 'mmcsd0s2a', swap: 'mmcsd0s3', interface: 'ue0' },
  laptop: { root: 'ada0p2', swap: 'ada0p3', interface: 'em0' },
} as const satisfies Record<Board, unknown>

const box = z
  .strictObject({
    name: named(NAMES.box).default('knox'),
    /** empty as long as the box has not been found */
    addresses: z.array(address).max(16),
    board: z.enum(BOARDS).default('rpi-b'),
    release: named(NAMES.release).default('releng/10.2'),
    /** us on an image; an installed machine keeps its own */
    keymap: named(NAMES.keymap).optional(),
    interface: named(NAMES.interface).optional(),
    network: network.default('dhcp'),
    nameserver: ipv4.default('8.8.4.4'),
    root: partition.optional(),
    swap: partition.optional(),
    disk: named(NAMES.disk).default('da0'),
    pool: named(NAMES.pool).default('wd'),
  })
  .transform((value) => {
    const { root, swap, interface: card } = BOARD_DEFAULTS[value.board]
    return {
      ...value,
      root: value.root ?? root,
      swap: value.swap ?? swap,
      interface: value.interface ?? card,
    }
  })

const deletions = z.strictObject({
  grace: z.int().min(1).max(3650).default(30),
  most: z.int().min(1).max(100).default(10),
})

const count = z.int().min(0).max(10_000).default(0)

/** how many of the newest hours, days ... that have a snapshot keep one at home */
const keep = z
  .strictObject({ hourly: count, daily: count, weekly: count, monthly: count, yearly: count })
  .refine((counts) => Object.values(counts).some((one) => one > 0), { error: 'keeps nothing' })

const home = z
  .strictObject({
    pool: named(NAMES.pool),
    /** datasets below the pool that stay at home, with all that is below them */
    exclude: z.array(named(NAMES.dataset)).default([]),
    /** what is gone at home goes on the box too, after so many days, but not more than so many percent of the box's snapshots in a run */
    deletions: z
      .union([z.literal('never'), deletions], { error: 'is neither never nor {grace: DAYS, most: PERCENT}' })
      .prefault({}),
    keep: keep.optional(),
    /** how often a run makes a broken connection anew: 5 take two and a half minutes */
    retries: z.int().min(0).max(100).default(5),
    /** keys and receipts; default ~/.config/knox/<box name>. It is written into ssh_config, where % $ \ and quotes mean more. */
    folder: z
      .string()
      .regex(/^\/[^\p{Cc}%$\\"]*$/u, {
        error: 'is not a folder knox can use: expected an absolute path without any of % $ \\ "',
      })
      .optional(),
  })
  .superRefine(({ pool, exclude }, context) => {
    for (const [index, name] of exclude.entries())
      if (!name.startsWith(`${pool}/`))
        context.addIssue({ code: 'custom', path: ['exclude', index], message: `is not below ${pool}` })
  })

const image = z.strictObject({
  size: z
    .string()
    .regex(/^[1-9][0-9]{0,6}(?:m|mb|mi|mib|g|gb|gi|gib)$/, { error: 'is not a size such as 3900mb' })
    .default('3900mb'),
  /** FreeBSD's sources and crochet: svn, git or an absolute path; by default the projects' own */
  source: z.string().max(1000).optional(),
  crochet: z.string().max(1000).optional(),
  /** a FreeBSD machine that builds, in the place of this one: root@host:port */
  builder: z.string().max(300).optional(),
})

const duration = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, { error: 'is not a time such as 36h or 2d' })
  .transform((text) => parseDuration(text) ?? 0)

/** absolute, and nothing in it that could break a line */
const absolute = z
  .string()
  .max(1000)
  .regex(/^\/[^\p{Cc}]+$/u, { error: 'is not an absolute path' })

const isWebAddress = (text: string): boolean => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url?.hash === '' && url.username === '' && url.password === ''
  return isPlain && ['http:', 'https:'].includes(url.protocol)
}

/** Who hears of a run's end, and when silence is an alarm: docs/alerts.md. */
export const alertsSchema = z.strictObject({
  /** seconds after which a last proof is too old, for knox check */
  'max-age': duration.prefault('2d'),
  /** a healthcheck's address; /start and /fail are appended */
  ping: z.string().max(1000).refine(isWebAddress, { error: 'is not an http or https address' }).optional(),
  /** a program that hears of a failed run, or with `on: always` of every run */
  command: absolute.optional(),
  on: z.enum(['failure', 'always']).default('failure'),
  /** one mail address, or a user of this machine */
  mail: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,63}(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)?$/, {
      error: 'is not one plain mail address',
    })
    .optional(),
  /** node_exporter reads files of this ending only */
  metrics: absolute.refine((path) => path.endsWith('.prom'), { error: 'does not end in .prom' }).optional(),
})

export type Alerts = z.infer<typeof alertsSchema>

export const configSchema = z.strictObject({
  box,
  home,
  image: image.prefault({}),
  alerts: alertsSchema.prefault({}),
})

export type Config = z.infer<typeof configSchema>
export type BoxConfig = Config['box']
