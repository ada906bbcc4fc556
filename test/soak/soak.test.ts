/** A run that is killed ten times ends as the run that nobody disturbed; `npm run soak` kills more, and other runs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { soak } from './harness.ts'

test('killed ten times: losses, weights, slots, metrics and events are bit-equal to the undisturbed run\'s', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'meshwork-soak-'))
  const said: string[] = []
  try {
    const program = fileURLToPath(new URL('run.mjs', import.meta.url))
    const report = await soak({ command: out => [process.execPath, program, out], folder, kills: 10, seed: 3, steps: 33, ranks: 1, say: line => { said.push(line) } })
    expect(report.differences, said.join('\n')).toEqual([])
    expect([report.kills, report.rounds]).toEqual([10, 1])
    // Before the first checkpoint and within one; three in the second epoch and one in the third; in data, compiling, and a line of the log.
    expect(report.byKind).toEqual({ prepare: 1, compile: 1, step: 5, save: 2, log: 1 })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
