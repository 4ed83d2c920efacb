/** A disk, an image file or a decrypted view of one. Offsets and lengths in bytes, of any alignment. */
export interface BlockDevice {
  /** in bytes */
  readonly size: number
  /** Exactly `length` bytes; throws a RangeError outside of the device, the system's error if the device fails. */
  readonly read: (offset: number, length: number) => Promise<Buffer>
  /** Absent on a read-only device. Throws as `read` does. */
  readonly write?: (offset: number, data: Buffer) => Promise<void>
  /** Until it returns, what was written may be lost by a power cut. */
  readonly flush?: () => Promise<void>
}
