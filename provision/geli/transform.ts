/**
 * Whole sectors of `source`, the first of which stands at byte `offset` of the provider, into the start of `target`,
 * which may be the same memory but not overlap it otherwise.
 */
export type SectorTransform = (source: Buffer, target: Buffer, offset: number) => void

export interface SectorTransforms {
  readonly encrypt: SectorTransform
  readonly decrypt: SectorTransform
  /** Overwrites what it holds of keys; nothing of it may be used after that. */
  readonly wipe: () => void
}
