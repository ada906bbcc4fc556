/** Memory: a corpus is prepared and gone through in as much as a small one takes. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { all } from '../../support/depth.ts'
import { temporaryFolder } from '../temporary.ts'
import { jsonLines, tokenizerPath } from './corpus.ts'

const at = temporaryFolder()
const built = fileURLToPath(new URL('../../../dist/src/data/index.js', import.meta.url))

/** Prepares a file in a process of its own, and reads every row of it: the most memory that it had, in MB, and the rows. */
function costOf(file: string, out: string): { readonly mb: number; readonly rows: number } {
  const program = `
    const { openSource, prepareStore } = await import(${JSON.stringify(built)})
    await prepareStore({ files: [${JSON.stringify(file)}], out: ${JSON.stringify(out)}, tokenizer: { path: ${JSON.stringify(tokenizerPath)} }, workers: 2 })
    const source = await openSource({ stores: [${JSON.stringify(out)}], task: { kind: 'causal' }, batch: 64, seq: 512 })
    const steps = source.stepsFor({ epochs: 1 })
    for (let step = 0; step < steps; step++) source.batch(step)
    process.stdout.write(JSON.stringify({ mb: process.resourceUsage().maxRSS / 1000, rows: source.rows[0] }))`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as { readonly mb: number; readonly rows: number }
}

function generated(name: string, megabytes: number): string {
  const file = openSync(at.at(name), 'w')
  for (let seed = 0, done = 0; done < megabytes * 1e6; seed++) {
    const lines = jsonLines(seed % 50, 5000, 200)
    writeSync(file, lines)
    done += lines.length
  }
  closeSync(file)
  return at.at(name)
}

test(`${all ? 200 : 12} MB within 450`, () => {
  const file = generated('corpus.jsonl', all ? 200 : 12)
  const { mb, rows } = costOf(file, at.at('corpus'))
  expect(rows).toBeGreaterThan(statSync(file).size / 1e6 * 100)
  expect(mb).toBeLessThan(450)
})
