import { test } from 'node:test'
import type { World } from '../../provision/lab/world.ts'
import { lockedAgain, lockedInTime } from '../support/lab.ts'
import { byHand, heard } from './by-hand.ts'

/** Every verb of the box's script, said by hand on a real FreeBSD. */

export interface Hand {
  readonly world: () => World
  readonly disk: string
  /** the box keeps what arrived of a broken stream */
  readonly isResumable: () => boolean
}

export const byHandTests = ({ world, disk, isResumable }: Hand): void => {
  const LOCKED = 'knox 1 knox locked'
  const UNLOCKED = [LOCKED, 'waiting', 'unlocked']
  const BYE = ['locked', '(end)', 'exit 0']
  const OK = /^ok [0-9]+$/
  const MEOW = '404cdd7bc109c432f8cc2443b45bcfe95980f5107215c645236e577929ac3e52'

  test('by hand: datasets are placed, received and renamed, or refused', async () => {
    heard(
      await byHand(
        world(),
        'sender; zfs snapshot sender@s1; zfs snapshot sender@s2',
        'printf x | /root/knox-zfs-receive.sh key; echo "exit $?"',
        'begin; /root/knox-zfs-receive.sh session </dev/null; echo "exit $?"',
        'say list; say unlock; key; say unlock',
        'say place "wd/by hand"; say place "wd/by hand"; say place wd/no/such; say place tank',
        'say receive full "wd/by hand"; send sender@s1',
        'say receive full "wd/by hand"; say receive incremental wd/none; say receive half wd/none',
        'say receive incremental "wd/by hand"; send -I @s1 sender@s2',
        '[ "$answer" = "ok $(zfs get -H -p -o value guid sender@s2)" ] && echo "as sent"',
        'say rename "wd/by hand" wd/hand; say rename wd/hand wd/pictures; say discard wd/hand; say stay',
        'bye',
      ),
      [
        ...['failed key nobody waits for a key', 'exit 1'],
        ...[LOCKED, 'failed busy another session is under way', 'exit 75'],
        ...['failed usage the disk is locked', 'waiting', 'unlocked'],
        'failed usage the disk is unlocked already',
        ...['ok', 'ok', /^failed refused .*parent does not exist/, 'failed usage not a dataset of this box'],
        ...['ready', OK],
        'failed refused wd/by hand has snapshots',
        'failed refused wd/none has no snapshot',
        'failed usage receive full, incremental or resume',
        ...['ready', OK, 'as sent'],
        ...['ok', 'failed refused wd/pictures is there already', /^failed refused /, 'ok'],
        ...BYE,
      ],
    )
    await lockedAgain(world())
  })

  test('by hand: what arrived of a broken stream is gone on with, or discarded', async (t) => {
    if (!isResumable()) {
      t.skip('this box keeps nothing of a broken stream')
      return
    }
    // the list tells the box's script that its zfs keeps what arrived
    const listed = 'unlocked; say list >/dev/null; hear_all end >rows'
    const broken = (place: string) =>
      `${listed}; say receive full ${place}; zfs send sender@s1 2>/dev/null | head -c 3000000 >&3; end`
    const over = [...UNLOCKED, 'ready', /^failed receive /, 'locked', '(end)', 'exit 1']
    heard(
      await byHand(
        world(),
        'sender; dd if=/dev/urandom of=files/big bs=1m count=8 2>/dev/null; zfs snapshot sender@s1',
        broken('wd/cut'),
        listed,
        'token=$(sed -n "s/^wd.cut${tab}filesystem${tab}.*${tab}//p" rows)',
        'say receive resume wd/cut; send -t "$token"; say discard wd/cut; bye',
        broken('wd/cut2'),
        // it is refused before its end
        `${listed}; say receive full wd/cut2; zfs send sender@s1 2>/dev/null >&3; end`,
        `${listed}; say discard wd/cut2; say receive full wd/cut2; send sender@s1; bye`,
      ),
      [
        ...over,
        ...[...UNLOCKED, 'ready', OK, /^failed refused /, ...BYE],
        ...over,
        ...over,
        ...[...UNLOCKED, 'ok', 'ready', OK, ...BYE],
      ],
    )
    await lockedAgain(world())
  })

  test('by hand: files are hashed, snapshots destroyed, each within its bounds', async () => {
    const many = Array.from({ length: 21 }, (_, n) => `s${n + 4}`).join(' ')
    heard(
      await byHand(
        world(),
        'sender; printf meow >"files/a b"; ln -s /etc files/etc; mkdir files/d',
        `for n in 1 2 3 ${many.replaceAll('s', '')} 25; do zfs snapshot sender@s$n; done`,
        'unlocked; say receive full wd/files; zfs send -R sender@s25 >&3; hear',
        'say look wd/files s0; say look wd/files s1; say hash "a\\0040b"; say look wd/files s2; say hash "a b"',
        'say hash etc/passwd; say hash etc; say hash d; say hash none; say hash d/../etc; say hash "*"',
        'mount | grep -c /var/run/knox/look',
        'say destroy wd/files s25; say destroy wd/files s2 s3; say destroy wd/files s2',
        'say destroy wd/files s4,s5; say destroy wd/files s4%s6; say destroy wd/files; say destroy tank s4',
        `say destroy wd/files ${many}`,
        'say health >/dev/null; hear_all end | grep -c "errors: No known data errors"',
        'say scrub 1h; say scrub 600; say scrub 600; bye',
        'mount | grep -c /var/run/knox/look',
      ),
      [
        ...[...UNLOCKED, 'ready', OK],
        ...['failed refused there is no such snapshot', 'ok', `ok ${MEOW}`, 'ok', `ok ${MEOW}`],
        ...['failed missing there is no such file', 'failed missing there is no such file'],
        ...['failed missing there is no such file', 'failed missing there is no such file'],
        ...['failed usage not a path', 'failed missing there is no such file', '1'],
        ...['failed refused wd/files@s25 is the newest one', 'ok', /^failed refused could not find any/],
        ...['failed usage not a snapshot', 'failed usage not a snapshot'],
        ...['failed usage not a verb of this box', 'failed usage not a dataset of this box'],
        /^failed limit no more than [0-9]+ snapshots/,
        '1',
        ...['failed usage not a number of seconds', 'ok', 'ok'],
        ...[...BYE, '0'],
      ],
    )
    await lockedAgain(world())
  })

  test('by hand: no key, no guard, a disk that was left open, a line that is too long', async () => {
    heard(
      await byHand(
        world(),
        'begin; say unlock; hear; say unlock; key',
        'kill -KILL "$(cat /var/run/knox/guard)"; say "$(head -c 5000 /dev/zero | tr "\\0" x)"; bye',
        `open_disk ${disk}; zpool import -f -N -o cachefile=none wd; echo 999999 >/var/run/knox/session; unlocked; bye`,
        'begin; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do say ls >/dev/null; done; say ls; end',
      ),
      [
        ...[LOCKED, 'waiting', 'failed key no key came within 60 seconds', 'waiting', 'unlocked'],
        ...['failed usage the line is too long', ...BYE],
        ...['knox 1 knox unlocked', 'waiting', 'unlocked', ...BYE],
        ...[LOCKED, 'failed usage not a verb of this box', 'locked', '(end)', 'exit 1'],
      ],
    )
    await lockedAgain(world())
  })

  test('by hand: a scrub whose time is over locks the disk', async () => {
    heard(await byHand(world(), 'unlocked; say scrub 4; hear_all "(end)"; wait "$session"; echo "exit $?"'), [
      ...UNLOCKED,
      'ok',
      '(end)',
      'exit 137',
    ])
    await lockedInTime(world())
  })

  // the last one: the pool remembers the days of its clock
  test('by hand: anchors of days and weeks are held, and let go', async () => {
    const today = 'exec cat /var/tmp/knox-by-hand/today'
    heard(
      await byHand(
        world(),
        `mkdir bin; cat >bin/date <<'EOF'\n#!/bin/sh\n[ "$*" = "-u +%Y%m%d" ] && ${today}\nexec /bin/date "$@"\nEOF`,
        'chmod 700 bin/date; PATH=$here/bin:$PATH; echo 20300101 >today',
        'sender; zfs snapshot sender@s0; unlocked; say receive full wd/days; send sender@s0',
        'for n in 1 2 3 4 5 6 7 8 9 10; do',
        '  echo "203001$(printf %02d $n)" >today; zfs snapshot sender@s$n',
        '  { say receive incremental wd/days; send -i @s$((n - 1)) sender@s$n; say destroy wd/days none; } >/dev/null',
        'done; echo "$answer"',
        'zfs list -H -d 1 -t snapshot -o name,userrefs -s createtxg wd/days | tr "\\t\\n" "= "; echo',
        'zfs get -H -s local -o value knox:anchor wd/days@s10; zfs get -H -s local -o value knox:destroyed wd',
        'say destroy wd/days s4; say destroy wd/days s2; bye',
      ),
      [
        ...[...UNLOCKED, 'ready', OK],
        /^failed refused could not find any/,
        [0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1].map((refs, n) => `wd/days@s${n}=${refs} `).join(''),
        '20300110',
        '20300110:1:20',
        ...[/^failed refused .*(busy|held)/, 'ok', ...BYE],
      ],
    )
    await lockedAgain(world())
  })
}
