/** The tasks of `meshwork eval` by transformers, sacrebleu, scikit-learn and SciPy: tiny models' items and figures, on 1×1 and 2×2. `UPDATE_ORACLE=1` keeps what they computed as fixtures. */
import { spawnSync } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import { differences, fixture, metricDifferences, type Judged } from '../serve/judged.ts'
import { measured, writeTasks } from '../serve/items.ts'
import type { Report } from './compare.ts'
import { measurePython, PythonError, run, sacrebleuVersion, transformersVersion, type Say } from './python.ts'

const script = fileURLToPath(new URL('measure.py', import.meta.url))
const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))
const limit = 1e-4

export async function measureReport(backend: Backend, say: Say): Promise<Report> {
  const python = await measurePython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-measure-'))
  try {
    writeTasks(folder)
    say('others measure')
    const { code, output } = await run(python, [script, folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of tasks failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} FOLDER` })
    if (process.env['UPDATE_ORACLE'] === '1') await copyFile(join(folder, 'judged.json'), fixture)
    const judged = JSON.parse(await readFile(join(folder, 'judged.json'), 'utf8')) as Judged
    const verdicts = [{ what: 'metrics of texts, labels and scores', error: Math.max(...metricDifferences(judged)) }]
    for (const [name, { task, model, data, args }] of Object.entries(measured)) {
      for (const mesh of [['1', '1'], ['2', '2']] as const) {
        say(`${name} on ${mesh.join('×')}`)
        const out = `${name}-${mesh.join('x')}`
        const ended = spawnSync(process.execPath, [bin, 'eval', model, '--task', task, '--data', data, ...args, '--out', out, '--batch', mesh[0], '--model', mesh[1]], { cwd: folder, encoding: 'utf8' })
        if (ended.status !== 0) throw new Error(`${name}: ${ended.stderr}`)
        verdicts.push({ what: `${name} on ${mesh.join('×')}`, error: await differences(judged, name, join(folder, out)) })
      }
    }
    const lines = verdicts.map(v => `${v.what.padEnd(40)}${v.error.toExponential(1).padStart(10)}  ${v.error < limit ? 'ok' : 'FAILS'}`)
    const passes = verdicts.every(v => v.error < limit)
    const judge = `transformers ${transformersVersion}, sacrebleu ${sacrebleuVersion}, scikit-learn, SciPy`
    return { judge, plugin: backend.name, passes, worst: { measure: Math.max(...verdicts.map(v => v.error)) }, verdicts: [], text: [`tasks of eval, by ${judge}: the worst of items and figures, limit ${limit}`, ...lines].join('\n') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
