/** What small T5s write, by transformers' `generate`: tokens, log-probabilities and the texts of beam search, on three meshes. `UPDATE_ORACLE=1` keeps the smallest as fixtures. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import { t5Differences, t5Folders } from '../serve/judged-t5.ts'
import type { Report } from './compare.ts'
import { PythonError, run, transformersPython, transformersVersion, type Say } from './python.ts'

const script = fileURLToPath(new URL('t5.py', import.meta.url))
const limit = 1e-4
const meshes = [{ batch: 1, model: 1 }, { batch: 2, model: 2 }, { batch: 1, model: 4 }] as const

export async function t5Report(backend: Backend, say: Say): Promise<Report> {
  const python = await transformersPython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-t5-'))
  try {
    say('transformers writes')
    const { code, output } = await run(python, [script, folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of T5 failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} FOLDER` })
    const names = (await readdir(folder)).sort()
    if (process.env['UPDATE_ORACLE'] === '1') for (const name of names.filter(n => n.startsWith('tiny'))) await cp(join(folder, name), join(t5Folders, name), { recursive: true })
    const lines: string[] = []
    let worst = 0
    for (const name of names) {
      for (const mesh of meshes) {
        const found = await t5Differences(join(folder, name), backend, mesh)
        const most = found.reduce((a, b) => (b.error > a.error ? b : a))
        worst = Math.max(worst, most.error)
        lines.push(`${name.padEnd(14)}${`${mesh.batch}×${mesh.model}`.padEnd(6)}${most.error.toExponential(1).padStart(10)}  ${most.error < limit ? 'ok   ' : 'FAILS'} ${found.length} texts, the worst ${most.what}`)
        say(`${name} on ${mesh.batch}×${mesh.model} judged`)
      }
    }
    return { judge: `transformers ${transformersVersion}`, plugin: backend.name, passes: worst < limit, worst: { t5: worst }, verdicts: [], text: [`what T5s write, by transformers ${transformersVersion}: tokens, and log-probabilities within ${limit}`, ...lines].join('\n') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
