import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { listenRemarks, networkRemarks } from '../../../provision/runtime/adopt-merge.ts'

describe('warns of a network that ends at the front door', () => {
  const warningsOf = (rcConf: string, sshd = '') => [...networkRemarks(rcConf), ...listenRemarks(sshd)]
  for (const [what, rcConf, sshd, pattern] of [
    [
      'a fixed address',
      'ifconfig_em0="inet 192.168.1.13/24"\n',
      '',
      /^rc\.conf gives em0 a fixed address.*another house/,
    ],
    [
      'one without the word inet',
      'ifconfig_re0="10.0.0.2 netmask 255.0.0.0"\n',
      '',
      /^rc\.conf gives re0 a fixed/,
    ],
    ['one of IPv6', 'ifconfig_em0="inet6 2001:db8::2/64"\n', '', /^rc\.conf gives em0 a fixed address/],
    [
      'one that replaces DHCP',
      'ifconfig_em0="DHCP"\nifconfig_em0="inet 10.0.0.2/8"\n',
      '',
      /gives em0 a fixed/,
    ],
    [
      'Wi-Fi alone',
      'wlans_ath0="wlan0"\nifconfig_wlan0="WPA DHCP"\n',
      '',
      /^rc\.conf sets up Wi-Fi only.*another house/,
    ],
    [
      'one address of sshd',
      'ifconfig_em0="DHCP"\n',
      'ListenAddress 192.168.1.13\n',
      /^sshd_config listens at 192\.168\.1\.13.*another house/,
    ],
    ['one with a port', '', 'ListenAddress [fe80::1]:22\n', /^sshd_config listens at \[fe80::1\]:22/],
  ] as const)
    test(what, () => {
      const warnings = warningsOf(rcConf, sshd)
      assert.equal(warnings.length, 1, warnings.join('\n'))
      assert.match(warnings[0] ?? '', pattern)
    })
  test('and of none that goes everywhere', () => {
    for (const rcConf of [
      '',
      'hostname="x"\n',
      'ifconfig_em0="DHCP"\nifconfig_em0_alias0="inet 10.0.0.2/32"\n',
      "ifconfig_em0='inet 10.0.0.2/8'\nifconfig_em0=SYNCDHCP\n",
      '#ifconfig_em0="inet 10.0.0.2/8"\nifconfig_lo0="inet 127.0.0.1"\n',
      'ifconfig_em0="up"\nwlans_iwn0="wlan0"\nifconfig_wlan0="WPA"\nifconfig_lagg0="laggproto failover laggport em0 laggport wlan0 DHCP"\n',
      'ifconfig_em0="DHCP"\nifconfig_wlan0="WPA DHCP"\n',
      'ifconfig_DEFAULT="DHCP inet6 accept_rtadv"\n',
      'ifconfig_em0="inet6 accept_rtadv"\n',
      'ifconfig_em0_ipv6="inet6 accept_rtadv"\n',
    ])
      assert.deepEqual(warningsOf(rcConf), [], rcConf)
    const everywhere = ['0.0.0.0', '0.0.0.0:22', '::', '[::]:22', '*'].map((at) => `ListenAddress ${at}\n`)
    assert.deepEqual(warningsOf('', everywhere.join('')), [])
    assert.deepEqual(warningsOf('', '#ListenAddress 10.0.0.2\nMatch User x\nListenAddress 10.0.0.2\n'), [])
  })
})
