/** The one function of bcrypt-pbkdf 1.0.2 that knox uses; the package has no types of its own. */
declare module 'bcrypt-pbkdf' {
  const bcrypt: {
    /** Fills `key`; returns 0, or -1 for an argument of length 0. */
    readonly pbkdf: (
      passphrase: Uint8Array,
      passphraseLength: number,
      salt: Uint8Array,
      saltLength: number,
      key: Uint8Array,
      keyLength: number,
      rounds: number,
    ) => number
  }
  export default bcrypt
}
