import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import type { Dataset } from '../tools/zfs.ts'
import type { BoxInventory } from './session.ts'

/**
 * The receipt: what the box itself listed at the end of the last proven run, after which it said it was locked.
 * It is a cache, the box is the truth: a lost or damaged receipt only costs one look at the box.
 */
export const receiptSchema = z.strictObject({
  version: z.literal(1),
  box: z.string(),
  /** when the box listed this, ISO 8601 UTC */
  provedAt: z.iso.datetime(),
  pool: z.strictObject({
    name: z.string(),
    guid: z.string(),
    used: z.number(),
    available: z.number(),
    disk: z.string().default(''),
    trouble: z.string().default(''),
  }),
  /** guid of home's pool, that is of its first dataset */
  home: z.string().optional(),
  datasets: z.array(
    z.strictObject({
      /** the name on the box */
      name: z.string(),
      type: z.enum(['filesystem', 'volume']),
      guid: z.string(),
      snapshots: z.number(),
      newest: z
        .strictObject({ name: z.string(), guid: z.string(), createtxg: z.string().regex(/^[0-9]{1,20}$/) })
        .nullable(),
    }),
  ),
})

export type Receipt = z.infer<typeof receiptSchema>

const pathOf = (folder: string): string => join(folder, 'receipt.json')

/** The receipt of the last proven run; undefined if there is none that can be read. */
export const readReceipt = async (folder: string): Promise<Receipt | undefined> => {
  const text = await readTextIfAny(pathOf(folder))
  if (text === undefined) return undefined
  try {
    return receiptSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** Makes the receipt of what the box has just listed; `home` is the guid of home's pool. */
export const receiptOf = (
  box: string,
  home: string | undefined,
  inventory: BoxInventory,
  now: Date,
): Receipt => ({
  version: 1,
  box,
  ...(home === undefined ? {} : { home }),
  provedAt: now.toISOString(),
  pool: inventory.pool,
  datasets: inventory.datasets.map(({ name, type, guid, snapshots }) => {
    const last = snapshots.at(-1)
    return {
      name,
      type,
      guid,
      snapshots: snapshots.length,
      newest:
        last === undefined
          ? null
          : { name: last.name, guid: last.guid, createtxg: last.createtxg.toString() },
    }
  }),
})

/** Keeps the receipt, atomically. */
export const writeReceipt = (folder: string, receipt: Receipt): Promise<void> =>
  writeFileAtomic(pathOf(folder), `${JSON.stringify(receipt, null, 1)}\n`, { replace: true })

/** Forgets it: to be called before the box gets a disk on which nothing of it can be true. */
export const forgetReceipt = (folder: string): Promise<void> => rm(pathOf(folder), { force: true })

/** The box as the receipt remembers it: each dataset with its newest snapshot, which is all that a plan needs. */
export const rememberedDatasets = (receipt: Receipt | undefined): readonly Dataset[] =>
  (receipt?.datasets ?? []).map(({ name, type, guid, newest }) => ({
    name,
    type,
    guid,
    createtxg: 0n,
    resumeToken: undefined,
    snapshots:
      newest === null ? [] : [{ name: newest.name, guid: newest.guid, createtxg: BigInt(newest.createtxg) }],
  }))

/** Seconds since the proof. */
export const receiptAge = (receipt: Receipt, now: Date): number =>
  (now.getTime() - new Date(receipt.provedAt).getTime()) / 1000
