import assert from 'node:assert/strict'
import type { World } from '../../provision/lab/world.ts'

/** Talking to the box's script on the box itself, as its root: what knox says rarely, or never, and every answer to it. */

/** The disk's key as octal escapes for printf. */
export const keyOf = async (world: World): Promise<string> =>
  (await world.home(`od -An -v -to1 ${world.dir}/keys/geli.key | tr -d '\\n' | sed 's/ /\\\\/g'`)).trim()

const words = (key: string): string => String.raw`
here=/var/tmp/knox-by-hand
tab=$(printf '\t')
mkdir -m 700 $here && cd $here || exit 1
leave() { exec 3>&- 4<&-; cd /; zpool destroy sender; rm -rf $here; }
trap 'leave >/dev/null 2>&1' EXIT
mkfifo in out

hear() { IFS= read -r answer <&4 || answer='(end)'; printf '%s\n' "$answer"; }
begin() { /root/knox-zfs-receive.sh session <in >out 2>/dev/null & session=$!; exec 3>in 4<out; hear; }
say() { (IFS=$tab; printf '%s\n' "$*") >&3; hear; }
open_disk() { printf '${key}' | geli attach -p -k - "$1"; }
key() { printf '${key}' | /root/knox-zfs-receive.sh key; hear; }
unlocked() { begin; say unlock; key; }
send() { zfs send "$@" >&3; hear; }
# until the line that is the last of an answer
hear_all() { while [ "$answer" != "$1" ] && [ "$answer" != '(end)' ]; do hear; done; }
end() { exec 3>&-; while [ "$answer" != '(end)' ]; do hear; done; wait "$session"; echo "exit $?"; exec 4<&-; }
bye() { say bye; end; }

# a pool of this machine's own whose streams are sent to the box
sender() { truncate -s 128m disk && zpool create -o cachefile=none -O mountpoint=$here/files sender $here/disk; }
`

/** Runs lines of sh that use the words above; each answer of the script is a line of what comes back. */
export const byHand = async (world: World, ...lines: readonly string[]): Promise<readonly string[]> => {
  const { stdout, stderr } = await world.box([words(await keyOf(world)), ...lines].join('\n'))
  return [...stdout.trimEnd().split('\n'), ...(stderr === '' ? [] : [`stderr: ${stderr}`])]
}

/** The answers are these, in this order. */
export const heard = (answers: readonly string[], expected: readonly (string | RegExp)[]): void => {
  for (const [index, answer] of answers.entries()) {
    const wanted = expected[index] ?? '(nothing more)'
    const fits = typeof wanted === 'string' ? answer === wanted : wanted.test(answer)
    assert.ok(fits, `answer ${index + 1} is not ${String(wanted)}:\n${answers.join('\n')}`)
  }
  assert.equal(answers.length, expected.length, answers.join('\n'))
}
