/** The GPT's judge: the same weights and tokens through Meshwork and through PyTorch must give the same numbers. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import { batchOf, cases, roughened, type Case } from './cases.ts'
import { compare, table, type Judgement, type Report, type Verdict } from './compare.ts'
import { readArrays, writeArrays, type Arrays, type Entry, type HostArray } from './exchange.ts'
import { compute, initialWeights } from './ours.ts'
import { PythonError, run, torchPython, torchVersion, type Say } from './python.ts'

const meshes = [[1, 1], [2, 2]] as const
const judge = fileURLToPath(new URL('judge.py', import.meta.url))

/** PyTorch's numbers for a case. The folder is gone afterwards. */
async function judgementOf(c: Case, weights: Arrays, python: string): Promise<Judgement> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-oracle-'))
  try {
    const given = new Map<string, HostArray>([...weights].map(([path, w]) => [`weights.${path}`, w]))
    for (let i = 0; i < c.steps; i++) {
      const { tokens, targets } = batchOf(c, i)
      given.set(`tokens.${i}`, tokens).set(`targets.${i}`, targets)
    }
    const arrays = await writeArrays(folder, given)
    await writeFile(join(folder, 'task.json'), JSON.stringify({ config: c.config, steps: c.steps, optimizer: c.optimizer, arrays }))
    const { code, output } = await run(python, [judge, folder])
    if (code !== 0) {
      const said = output.split('\n').slice(-3).join(' ')
      throw new PythonError({ code: 'judge', what: 'PyTorch could not judge', details: { case: c.name, said } })
    }
    const answer = JSON.parse(await readFile(join(folder, 'judgement.json'), 'utf8')) as { arrays: Entry[]; numbers: Judgement['numbers'] }
    return { arrays: await readArrays(folder, answer.arrays), numbers: answer.numbers }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function verdictsOf(c: Case, backend: Backend, python: string): Promise<Verdict[]> {
  const weights = roughened(await initialWeights(c, backend), c.noise)
  const judged = await judgementOf(c, weights, python)
  // Otherwise clipping would not be judged.
  if (!judged.numbers.f64.norms.some(n => n > c.optimizer.clip)) throw new Error(`case "${c.name}": no step is clipped; lower the limit`)
  const verdicts: Verdict[] = []
  for (const [batch, model] of meshes) {
    const ours = await compute(c, weights, batch, model, backend)
    verdicts.push(...compare(c.name, `${batch}×${model}`, ours, judged))
  }
  return verdicts
}

/** Judges every case. */
export async function gptReport(backend: Backend, say: Say): Promise<Report> {
  const python = await torchPython(say)
  const verdicts: Verdict[] = []
  for (const c of cases) {
    say(`judging "${c.name}"`)
    verdicts.push(...await verdictsOf(c, backend, python))
  }
  const failed = verdicts.filter(v => !v.passes)
  const worst = (kind: RegExp): number => Math.max(...verdicts.filter(v => kind.test(v.what)).map(v => v.error))
  const summary = { loss: worst(/^loss/), gradient: worst(/^gradient/), trained: worst(/^trained/) }
  const worstText = Object.entries(summary).map(([what, error]) => `${what} ${error.toExponential(1)}`).join(', ')
  const counted = `${verdicts.length - failed.length} of ${verdicts.length} comparisons with PyTorch ${torchVersion} hold`
  return {
    judge: `PyTorch ${torchVersion}`, plugin: backend.description, passes: failed.length === 0, worst: summary, verdicts,
    text: `${table(verdicts)}\n\n${counted}; the worst: ${worstText}`,
  }
}
