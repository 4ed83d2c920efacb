/** The shortest knox.yaml that is right, and every way to be wrong. */

export const box = 'box:\n  addresses: [192.168.1.13]\n'
export const home = 'home:\n  pool: wd\n'

/** title, text of the file, what the first line must say */
type Case = readonly [string, string, RegExp]

export const BROKEN: readonly Case[] = [
  ['an empty file', '', /^knox\.yaml:1:1: the file is empty$/],
  ['only comments', '# pool: wd\n\n', /^knox\.yaml:1:1: the file is empty$/],
  ['null', '~\n', /^knox\.yaml:1:1: the file is empty$/],
  ['a list', '- box\n- home\n', /^knox\.yaml:1:1: expected object, received array$/],
  ['plain text', 'hello\n', /^knox\.yaml:1:1: expected object/],
  ['no home', box, /^knox\.yaml:1:1: home: is missing$/],
  ['no addresses', `box: {}\n${home}`, /^knox\.yaml:1:6: box\.addresses: is missing$/],
  [
    'an unknown key at the top',
    `${box}${home}extra: 1\n`,
    /^knox\.yaml:5:1: extra: is not a key knox knows$/,
  ],
  [
    'an unknown key below',
    `${box}  colour: red\n${home}`,
    /^knox\.yaml:3:3: box\.colour: is not a key knox knows$/,
  ],
  [
    'a key that objects have by themselves',
    `${box}${home}__proto__: {x: 1}\n`,
    /^knox\.yaml:5:1: __proto__: is not a key/,
  ],
  ['a key that is no text', `${box}${home}? [a, b]\n: x\n`, /^knox\.yaml:1:1: \[ a, b \]: is not a key/],
  ['a key twice', `${box}${home}box: 1\n`, /^knox\.yaml:5:1: Map keys must be unique$/],
  ['a tab as indentation', 'box:\n\taddresses: [a]\n', /^knox\.yaml:2:1: Tabs are not allowed/],
  ['two documents', `${box}${home}---\n${box}${home}`, /^knox\.yaml:5:1: a second document begins here$/],
  ['an unclosed bracket', 'box:\n  addresses: [a\n', /^knox\.yaml:[23]:\d+: Flow sequence/],
  ['a merge key', `x: &x {pool: wd}\n${box}home:\n  <<: *x\n`, /^knox\.yaml:5:3: home\.pool: is missing$/],
  ['an alias without an anchor', `box: *nowhere\n${home}`, /^knox\.yaml:1:1: .*Unresolved alias/],
  [
    'a foreign tag',
    `box: !!js/function "process.exit()"\n${home}`,
    /^knox\.yaml:1:\d+: box: expected object/,
  ],
  [
    'a number where text belongs',
    `${box}home:\n  pool: 7\n`,
    /^knox\.yaml:4:9: home\.pool: expected string, received number$/,
  ],
  [
    'text where a list belongs',
    `box:\n  addresses: here\n${home}`,
    /^knox\.yaml:2:14: box\.addresses: expected array/,
  ],
  [
    'a box name with a ;',
    `box:\n  name: a;reboot\n  addresses: [a.b]\n${home}`,
    /^knox\.yaml:2:9: box\.name: is not a box name: expected lower-case/,
  ],
  [
    'an address that is none',
    `box:\n  addresses: [a.b, -oProxyCommand=id]\n${home}`,
    /^knox\.yaml:2:20: box\.addresses\.1: is not an address/,
  ],
  ['a board nobody has', `${box}  board: rpi-5\n${home}`, /^knox\.yaml:3:10: box\.board: .*rpi-b/],
  [
    'a release that is a path',
    `${box}  release: releng/../x\n${home}`,
    /^knox\.yaml:3:12: box\.release: is not a release: expected .*releng\/10\.2/,
  ],
  [
    'a disk with its folder',
    `${box}  disk: /dev/da0\n${home}`,
    /^knox\.yaml:3:9: box\.disk: is not a disk name: expected .*without \/dev\//,
  ],
  [
    'an interface with a blank',
    `${box}  interface: ue0 up\n${home}`,
    /^knox\.yaml:3:14: box\.interface: is not a network interface/,
  ],
  ['a keymap that climbs', `${box}  keymap: ../x\n${home}`, /^knox\.yaml:3:11: box\.keymap: is not a keymap/],
  [
    'a root that is none',
    `${box}  root: /dev/ada0p2\n${home}`,
    /^knox\.yaml:3:9: box\.root: is not a FreeBSD partition/,
  ],
  [
    'a nameserver by name',
    `${box}  nameserver: dns.example\n${home}`,
    /^knox\.yaml:3:15: box\.nameserver: is not an IPv4 address$/,
  ],
  [
    'a network word',
    `${box}  network: static\n${home}`,
    /^knox\.yaml:3:12: box\.network: is neither dhcp nor \{address/,
  ],
  [
    'a network without prefix',
    `${box}  network:\n    address: 10.0.0.2\n    gateway: 10.0.0.1\n${home}`,
    /^knox\.yaml:4:14: box\.network\.address: is not an IPv4 address with a prefix/,
  ],
  [
    'an unknown key of the network',
    `${box}  network: {address: 10.0.0.2/8, gateway: 10.0.0.1, mtu: 9}\n${home}`,
    /^knox\.yaml:3:53: box\.network\.mtu: is not a key/,
  ],
  [
    'a reserved pool name',
    `${box}home:\n  pool: mirror\n`,
    /^knox\.yaml:4:9: home\.pool: is not a pool name/,
  ],
  [
    'a snapshot to exclude',
    `${box}${home}  exclude: [wd/a@b]\n`,
    /^knox\.yaml:5:13: home\.exclude\.0: is not a dataset name/,
  ],
  [
    'an excluded dataset of another pool',
    `${box}${home}  exclude: [wd/a, wdx/b]\n`,
    /^knox\.yaml:5:19: home\.exclude\.1: is not below wd$/,
  ],
  [
    'the pool itself excluded, which would leave nothing to back up',
    `${box}${home}  exclude: [wd]\n`,
    /^knox\.yaml:5:13: home\.exclude\.0: is not below wd$/,
  ],
  ['a relative folder', `${box}${home}  folder: keys\n`, /^knox\.yaml:5:11: home\.folder: .*absolute/],
  [
    'a folder that ends a line of ssh_config',
    `${box}${home}  folder: "/a\\nProxyCommand id"\n`,
    /^knox\.yaml:5:11: home\.folder: /,
  ],
  [
    'a folder that ends a quotation of ssh_config',
    `${box}${home}  folder: /a"b\n`,
    /^knox\.yaml:5:11: home\.folder: /,
  ],
  [
    'a folder with a token of ssh_config',
    `${box}${home}  folder: /a%h\n`,
    /^knox\.yaml:5:11: home\.folder: /,
  ],
  [
    'a ping that is no web address',
    `${box}${home}alerts:\n  ping: file:///etc/passwd\n`,
    /^knox\.yaml:6:\d+: alerts\.ping: is not an http or https address/,
  ],
  [
    'a ping with a password',
    `${box}${home}alerts:\n  ping: https://me:pw@a.b/\n`,
    /^knox\.yaml:6:\d+: alerts\.ping: is not an http or https address/,
  ],
  [
    'a hook that is no absolute path',
    `${box}${home}alerts:\n  command: hook.sh\n`,
    /^knox\.yaml:6:\d+: alerts\.command: is not an absolute path/,
  ],
  [
    'a hook with words',
    `${box}${home}alerts:\n  command: [/bin/sh, -c]\n`,
    /^knox\.yaml:6:\d+: alerts\.command: expected string/,
  ],
  [
    'a mail address with a header',
    `${box}${home}alerts:\n  mail: "a@b.c\\nBcc: x@y.z"\n`,
    /^knox\.yaml:6:\d+: alerts\.mail: is not one plain mail address/,
  ],
  [
    'two mail addresses',
    `${box}${home}alerts:\n  mail: "a@b.c, d@e.f"\n`,
    /^knox\.yaml:6:\d+: alerts\.mail: is not one plain mail address/,
  ],
  [
    'a mail address that is an option',
    `${box}${home}alerts:\n  mail: -f@b.c\n`,
    /^knox\.yaml:6:\d+: alerts\.mail: is not one plain mail address/,
  ],
  [
    'metrics that nobody would read',
    `${box}${home}alerts:\n  metrics: /var/db/knox.txt\n`,
    /^knox\.yaml:6:\d+: alerts\.metrics: does not end in \.prom/,
  ],
  [
    'an age without a unit',
    `${box}${home}alerts:\n  max-age: 2\n`,
    /^knox\.yaml:6:\d+: alerts\.max-age: expected string/,
  ],
  [
    'an age that is none',
    `${box}${home}alerts:\n  max-age: 2 days\n`,
    /^knox\.yaml:6:\d+: alerts\.max-age: is not a time such as 36h or 2d/,
  ],
  [
    'an alert that knox does not know',
    `${box}${home}alerts:\n  sms: 123\n`,
    /^knox\.yaml:6:\d+: alerts\.sms: is not a key knox knows/,
  ],
  [
    'an image size without a unit',
    `${box}${home}image:\n  size: "3900"\n`,
    /^knox\.yaml:6:9: image\.size: is not a size such as 3900mb$/,
  ],
]
