/** The public halves of keys that the tutorial published, with their private halves beside them. */

const HEAD = '0000000b7373682d6564323535313900000020' // ssh-ed25519, and a key of 32 bytes

const line = (key: string): string => `ssh-ed25519 ${Buffer.from(HEAD + key, 'hex').toString('base64')}`

/** As it stands in /etc/ssh/knox-ca of the tutorial's image. */
export const AUTHORITY_OF_THE_TUTORIAL = line(
  '542637fe33963239fb48c829472c8785b897c504fe2bb60845648141888ed3f8',
)

/** As it stands in keys/knox-login.pub. */
export const LOGIN_OF_THE_TUTORIAL = line('fa3a0fdf8aeafdfb4bf4e44021364d3e736c036db984c732d23eb008790597ac')
