import { fileURLToPath } from 'node:url'
import { defineCommand } from '../provision/cli/command.ts'
import { describeExamined } from '../provision/cli/describe-examined.ts'
import { codeOf, examine } from '../provision/doctor/examine.ts'

/** Exit: 0 nothing is broken, else the code that the first broken link would end a run with: 3, 10, 12, 15, 21 ... */
export const doctor = defineCommand({
  name: 'doctor',
  summary: 'look at the whole chain, from the programs at home to the box’s disk, and say what to mend',
  details:
    'Changes nothing. One line a link: ok, attention or broken. Exit: 0 if nothing is broken, else the exit code of the first broken link.',
  run: async (knox) => {
    const found = await examine({
      configPath: knox.configPath,
      script: fileURLToPath(new URL('./knox.mjs', import.meta.url)),
      emit: knox.emit,
      now: new Date(),
    })
    knox.result(describeExamined(found), { links: found })
    return codeOf(found)
  },
})
