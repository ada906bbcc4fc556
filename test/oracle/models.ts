/** Models by transformers: every case of `test/oracle/models` computed by both, on four meshes. `MESHWORK_CASES` picks cases; `UPDATE_ORACLE=1` keeps what transformers computed as fixtures. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import { cases, compared, fixtures, loadCase } from '../models/parity.ts'
import type { Report } from './compare.ts'
import { PythonError, run, transformersPython, transformersVersion, type Say } from './python.ts'

const limit = 1e-4
const meshes = [{ batch: 1, model: 1 }, { batch: 2, model: 2 }, { batch: 1, model: 4 }, { batch: 4, model: 1 }] as const
const script = fileURLToPath(new URL('models/main.py', import.meta.url))

export async function modelsReport(backend: Backend, say: Say): Promise<Report> {
  const python = await transformersPython(say)
  const keep = process.env['UPDATE_ORACLE'] === '1'
  const folder = keep ? fixtures : await mkdtemp(join(tmpdir(), 'meshwork-models-'))
  try {
    const { code, output } = await run(python, [script, folder], () => {})
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of models failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} FOLDER` })
    const wanted = new RegExp(process.env['MESHWORK_CASES'] ?? '')
    const verdicts: { readonly case: string; readonly mesh: string; readonly worst: string; readonly error: number; readonly passes: boolean }[] = []
    for (const name of cases(folder).filter(n => wanted.test(n))) {
      const c = await loadCase(folder, name)
      for (const mesh of meshes) {
        const differences = await compared(c, backend, mesh)
        const worst = differences.reduce((a, b) => (b.error > a.error ? b : a))
        verdicts.push({ case: name, mesh: `${mesh.batch}×${mesh.model}`, worst: worst.what, error: worst.error, passes: worst.error < limit })
      }
      say(`${name} judged`)
    }
    const passes = verdicts.length > 0 && verdicts.every(v => v.passes)
    const lines = verdicts.map(v => `${v.case.padEnd(28)}${v.mesh.padEnd(6)}${v.error.toExponential(1).padStart(10)}  ${v.passes ? 'ok' : 'FAILS'}  ${v.worst}`)
    return {
      judge: `transformers ${transformersVersion}`, plugin: backend.name, passes, worst: { models: Math.max(...verdicts.map(v => v.error)) }, verdicts,
      text: [`models, by transformers ${transformersVersion}: outputs, loss, gradients; the worst of each, limit ${limit}`, ...lines].join('\n'),
    }
  } finally {
    if (!keep) await rm(folder, { recursive: true, force: true })
  }
}
