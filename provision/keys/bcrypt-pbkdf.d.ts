declare module 'bcrypt-pbkdf' {
  /** Fills `key` from passphrase and salt; 0 on success. */
  export function pbkdf(
    pass: Uint8Array,
    passLength: number,
    salt: Uint8Array,
    saltLength: number,
    key: Uint8Array,
    keyLength: number,
    rounds: number,
  ): number
}
