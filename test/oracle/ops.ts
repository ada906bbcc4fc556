/** The ops' judge: every case of the op table, value and gradients, must be what JAX computes for it in f64. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { names } from '../../src/core/dim.ts'
import { mesh } from '../../src/core/mesh.ts'
import type { Backend } from '../../src/engine/index.ts'
import { cases } from '../cases/index.ts'
import { legal, perProgram, ready, runTogether, type Ready, type Result } from '../support/ready.ts'
import { relativeError } from '../support/values.ts'
import type { Report } from './compare.ts'
import { readArrays, writeArrays, type Arrays, type Entry, type HostArray } from './exchange.ts'
import { jaxPython, jaxVersion, PythonError, run, type Say } from './python.ts'
import { unjudged } from './unjudged.ts'

const meshes = [{ x: 1 }, { x: 2, y: 2 }] as const
const judge = fileURLToPath(new URL('judge_ops.py', import.meta.url))
/** ‖ours − theirs‖ / ‖theirs‖, ours in f32, theirs in f64. */
const limit = 2e-6

interface Failure { readonly key: string; readonly said: string }
interface Judged { readonly arrays: Arrays; readonly failed: readonly Failure[] }
interface Verdict { readonly case: string; readonly mesh: string; readonly what: string; readonly error: number; readonly passes: boolean; readonly said?: string }

/** Floats and integers as the exchange knows them; what they are is in the task. */
const hosted = (r: Ready, key: string): HostArray => {
  const data = r.data[key] ?? new Float32Array()
  const shape = (r.inputs[key]?.shape ?? []).map(d => d.size)
  return { shape, data: data instanceof Float32Array || data instanceof Float64Array ? data : Int32Array.from(data, Number) }
}

/** What JAX computes. The folder is gone afterwards. */
async function judgementOf(all: readonly Ready[], python: string): Promise<Judged> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-oracle-'))
  try {
    const given = new Map<string, HostArray>()
    const tasks = all.map((r, i) => {
      const [value, ...gradients] = Object.keys(r.f(r.inputs)).filter(k => k !== 'weights')
      const last = Object.keys(r.inputs).length - 1
      for (let k = 0; k < last; k++) given.set(`${i}.x${k}`, hosted(r, `i${k}`))
      given.set(`${i}.w`, hosted(r, `i${last}`))
      const dims = (r.inputs[`i${last}`]?.shape ?? []).map(d => d.name.slice(r.prefix.length))
      const operands = Object.values(r.inputs).slice(0, last).map(t => t.dtype)
      return { key: String(i), name: r.name, dims, operands, gradient: value !== undefined && gradients.length > 0 }
    })
    const arrays = await writeArrays(folder, given)
    await writeFile(join(folder, 'task.json'), JSON.stringify({ cases: tasks, arrays }))
    const { code, output } = await run(python, [judge, folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'JAX could not judge', details: { said: output.split('\n').slice(-3).join(' ') } })
    const answer = JSON.parse(await readFile(join(folder, 'judgement.json'), 'utf8')) as { arrays: Entry[]; failed: Failure[] }
    return { arrays: await readArrays(folder, answer.arrays), failed: answer.failed }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** JAX's results have the dims of ours in the order of the traced shape; what a program returns has its own. */
function verdictOf({ chosen: { ready }, key, data, shape }: Result, i: number, onMesh: string, { arrays, failed }: Judged): Verdict {
  const said = failed.find(f => f.key === String(i))?.said
  const traced = ready.f(ready.inputs)[key]?.shape ?? []
  const theirs = arrays.get(`${i}.${key}`)
  const alike = theirs !== undefined && names(traced).join() === names(shape).join() && theirs.shape.join() === shape.map(d => d.size).join()
  const error = alike ? relativeError(data, theirs.data) : Infinity
  return { case: ready.name, mesh: onMesh, what: key, error, passes: error <= (ready.tolerance ?? limit), ...(said === undefined ? {} : { said }) }
}

export async function opsReport(backend: Backend, say: Say): Promise<Report> {
  const python = await jaxPython(say)
  const all = cases.map(ready).filter(r => unjudged[r.name] === undefined)
  say(`judging ${all.length} cases`)
  const judged = await judgementOf(all, python)
  const verdicts: Verdict[] = []
  for (const sizes of meshes) {
    const [on, label] = [mesh(sizes), Object.values(sizes).join('×')]
    const chosen = all.map((r, i) => ({ ready: r, layout: legal(r, on, 1, i)[0] ?? {} }))
    for (let from = 0; from < chosen.length; from += perProgram) {
      say(`computing on ${label}: ${from} of ${chosen.length}`)
      for (const result of await runTogether(chosen.slice(from, from + perProgram), on, backend)) {
        if (result.key !== 'weights') verdicts.push(verdictOf(result, all.indexOf(result.chosen.ready), label, judged))
      }
    }
  }
  const worst = (of: readonly Verdict[]): number => Math.max(0, ...of.map(v => v.error))
  const lines = all.map(({ name }) => {
    const of = verdicts.filter(v => v.case === name)
    const parts = [['value', of.filter(v => v.what === 'value')], ['gradients', of.filter(v => v.what !== 'value')]] as const
    const errors = parts.map(([what, some]) => some.length === 0 ? ''.padStart(18) : `${what} ${worst(some).toExponential(1)}`.padStart(18))
    const wrong = of.filter(v => !v.passes)
    const where = [...new Set(wrong.map(v => v.said ?? `${v.what} on ${v.mesh}`))].join(', ')
    return `${name.padEnd(42)}${errors.join('')}  ${wrong.length === 0 ? 'ok' : `FAILS: ${where}`}`
  })
  const failed = verdicts.filter(v => !v.passes)
  const summary = { value: worst(verdicts.filter(v => v.what === 'value')), gradient: worst(verdicts.filter(v => v.what !== 'value')) }
  const counted = `${verdicts.length - failed.length} of ${verdicts.length} comparisons with JAX ${jaxVersion} in f64 hold (limit ${limit.toExponential(0)})`
  const worstText = Object.entries(summary).map(([what, error]) => `${what} ${error.toExponential(1)}`).join(', ')
  return {
    judge: `JAX ${jaxVersion}`, plugin: backend.description, passes: failed.length === 0, worst: summary, verdicts,
    text: [...lines, '', `${counted}; the worst: ${worstText}`].join('\n'),
  }
}
