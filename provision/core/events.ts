/** All that the library reports while it works. Only provision/cli prints. */
export type Event =
  | { readonly type: 'step'; readonly title: string }
  | { readonly type: 'done'; readonly title: string }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'warning'; readonly text: string; readonly hint?: string }
  | { readonly type: 'command'; readonly argv: readonly string[]; readonly where: string }
  | {
      readonly type: 'progress'
      readonly dataset: string
      readonly bytes: number
      /** estimated bytes of this dataset's stream, undefined where unknown */
      readonly of: number | undefined
      /** all streams of this run */
      readonly totalBytes: number
      readonly totalOf: number | undefined
      readonly seconds: number
    }

export type Emit = (event: Event) => void
