/** The files in the owner's key folder; one place names them. */
export const KEY_FILES = {
  /** certificate authority, private part encrypted with the passphrase; never leaves home */
  ca: 'knox-ca',
  hostKey: 'ssh_host_ed25519_key',
  /** 1024 random bytes: the key file of geli(8) */
  disk: 'geli.key',
  sshConfig: 'ssh_config',
  knownHosts: 'known_hosts',
  /** says when the wizard made a card with these keys */
  card: 'card-made',
} as const

/** Where the box's script lives; the forced commands of the certificates name it. */
export const BOX_SCRIPT = '/root/knox-zfs-receive.sh'

export const LOGINS = ['knox-shell', 'knox-fifo', 'knox-send'] as const
export type Login = (typeof LOGINS)[number]

/** What each login may do: knox-shell has a full shell, the others `clear` and one forced command. */
export const FORCED_COMMANDS: Readonly<Record<Login, string | undefined>> = {
  'knox-shell': undefined,
  'knox-fifo': `${BOX_SCRIPT} key`,
  'knox-send': `${BOX_SCRIPT} session`,
}
