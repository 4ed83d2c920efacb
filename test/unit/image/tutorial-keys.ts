/** The public half of the authority that the tutorial published, with its private half beside it. */

const PUBLIC = '542637fe33963239fb48c829472c8785b897c504fe2bb60845648141888ed3f8'
const HEAD = '0000000b7373682d6564323535313900000020' // ssh-ed25519, and a key of 32 bytes

/** As it stands in /etc/ssh/knox-ca of the tutorial's image. */
export const AUTHORITY_OF_THE_TUTORIAL = `ssh-ed25519 ${Buffer.from(HEAD + PUBLIC, 'hex').toString('base64')}`
