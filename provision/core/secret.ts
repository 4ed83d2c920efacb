import { inspect } from 'node:util'

/**
 * Bytes that must not be shown. Prints, inspects and serialises as its label;
 * only provision/system (stdin of a process, a 0600 file) and whoever computes with it (keys, rescue) reveal it.
 */
export class Secret {
  readonly label: string
  readonly #bytes: Buffer

  constructor(label: string, bytes: Buffer | string) {
    this.label = label
    this.#bytes = Buffer.from(bytes)
  }

  reveal(): Buffer {
    return this.#bytes
  }

  toString(): string {
    return `[secret ${this.label}]`
  }

  toJSON(): string {
    return this.toString()
  }

  [inspect.custom](): string {
    return this.toString()
  }
}
