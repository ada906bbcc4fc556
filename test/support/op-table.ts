/** The table of cases on a mesh: legal layouts, forward and gradient, against the reference evaluator. */
import type { Mesh } from '../../src/core/mesh.ts'
import type { Backend } from '../../src/engine/index.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { typeOf } from '../../src/graph/node.ts'
import { cases } from '../cases/index.ts'
import { legal, perProgram, ready, runTogether, type Chosen, type Ready } from './ready.ts'
import { relativeError } from './values.ts'

type Expected = { readonly [result: string]: ArrayLike<number> }

/** f64. */
function expectedOf({ inputs, data, f }: Ready): Expected {
  const outputs = f(inputs)
  const nodes = Object.values(inputs).map(t => t.node).filter(n => n.op === 'input')
  const values = evaluate({ inputs: nodes, outputs: Object.values(outputs).map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[`i${i}`] ?? [])))
  return Object.fromEntries(Object.keys(outputs).map((k, i) => [k, values[i]?.data ?? []]))
}

const prepared = cases.map(ready)
const expected = new Map(prepared.map(r => [r, expectedOf(r)]))

/** Every case in every legal layout, sorted into rounds: each round has a case at most once. Layouts differ in more than names of axes. */
function roundsOf(mesh: Mesh, most: number): Chosen[][] {
  const rounds: Chosen[][] = []
  for (const [i, ready] of prepared.entries()) {
    for (const [k, layout] of legal(ready, mesh, most, i).entries()) {
      const round = rounds[k] ?? []
      rounds[k] = [...round, { ready, layout }]
    }
  }
  return rounds
}

/** Runs all cases in all their layouts, or in the first `most` of them, and says where a number differs. */
export async function wrongOn(mesh: Mesh, backend: Backend, most = Infinity): Promise<string[]> {
  const wrong: string[] = []
  for (const round of roundsOf(mesh, most)) {
    for (let from = 0; from < round.length; from += perProgram) wrong.push(...await wrongIn(round.slice(from, from + perProgram), mesh, backend))
  }
  if (backend.liveBuffers() !== 0) wrong.push(`${backend.liveBuffers()} buffers are left over`)
  return wrong
}

async function wrongIn(chosen: readonly Chosen[], mesh: Mesh, backend: Backend): Promise<string[]> {
  const wrong: string[] = []
  for (const { chosen: { ready, layout }, key, data } of await runTogether(chosen, mesh, backend)) {
    const error = relativeError(data, expected.get(ready)?.[key] ?? [])
    // Not `>`: an error that is no number must count.
    if (!(error <= (ready.tolerance ?? 1e-5))) wrong.push(`${ready.name} ${key} ${JSON.stringify(layout)}: ${error}`)
  }
  return wrong
}
