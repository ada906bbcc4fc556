/** The table of cases on a mesh: legal layouts, forward and gradient, against the reference evaluator. */
import { dim, sizeOf, type Dim } from '../../src/core/dim.ts'
import { isFloat, type TypedArray } from '../../src/core/dtype.ts'
import { LayoutError } from '../../src/core/errors.ts'
import type { Mesh } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'
import { compile, expectDims, grad, input, loose, plan, type AnyTensor, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { typeOf } from '../../src/graph/node.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { cases, type Case } from '../cases/index.ts'
import { distinctLayouts, layoutsOf } from './layouts.ts'
import { drawnOperand } from './operand.ts'
import { drawn, relativeError } from './values.ts'

type Inputs = { readonly [name: string]: Tensor<string> }
interface Ready {
  readonly name: string
  readonly dims: readonly Dim[]
  readonly inputs: Inputs
  readonly data: { readonly [name: string]: TypedArray }
  /** The value, and the gradient of its product with fixed weights. */
  readonly f: (inputs: Inputs) => { readonly [name: string]: AnyTensor }
  /** f64. */
  readonly expected: { readonly [name: string]: ArrayLike<number> }
}

/** A case with dims of its own names, so that many share one program. */
function ready(c: Case, index: number): Ready {
  const own = Object.fromEntries(Object.entries(c.dims).map(([name, size]) => [name, dim(`c${index}_${name}`, size)]))
  const parsed = c.in.map((text, i) => drawnOperand(text, own, `c${index}_x${i}`, 100 * index + i))
  const y = c.f(parsed.map(p => p.tensor), own)
  const weights = input(`c${index}_w`, y.shape) as Tensor<string>
  const inputs = Object.fromEntries([...parsed.map(p => p.tensor), weights].map((t, i) => [`i${i}`, t]))
  const data = Object.fromEntries([...parsed.map(p => p.data), drawn(typeOf(weights.node), 100 * index + 99)].map((d, i) => [`i${i}`, d]))
  const floats = parsed.map((p, i) => ({ key: `i${i}`, tensor: p.tensor })).filter(p => isFloat(p.tensor.dtype))
  const f = (given: Inputs): { [name: string]: AnyTensor } => {
    const operands = parsed.map((_, i) => given[`i${i}`] ?? weights)
    const value = c.f(operands, own)
    // Every result mentions the weights, so that all cases have arguments of one form.
    const out: { [name: string]: AnyTensor } = { value, weights: (given[`i${parsed.length}`] ?? weights).neg() }
    if (c.noGradient === true) return out
    const differentiable = Object.fromEntries(floats.map(({ key }) => [key, given[key] ?? weights]))
    const gradient = grad((p: Inputs) => {
      const again = c.f(operands.map((o, i) => p[`i${i}`] ?? o), own)
      return expectDims(loose(again).mul(given[`i${parsed.length}`] ?? weights).sum(), [])
    })(differentiable)
    return { ...out, ...Object.fromEntries(Object.entries(gradient).map(([k, g]) => [`d${k}`, g])) }
  }
  const outputs = f(inputs)
  const nodes = Object.values(inputs).map(t => t.node).filter(n => n.op === 'input')
  const values = evaluate({ inputs: nodes, outputs: Object.values(outputs).map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), data[`i${i}`] ?? [])))
  const expected = Object.fromEntries(Object.keys(outputs).map((k, i) => [k, values[i]?.data ?? []]))
  return { name: c.name, dims: Object.values(own), inputs, data, f, expected }
}

function isLegal(r: Ready, mesh: Mesh, layout: Layout): boolean {
  try {
    plan(r.f, [r.inputs], { mesh, layout, dims: Object.fromEntries(r.dims.map(d => [d.name, d])) })
    return true
  } catch (e) {
    if (e instanceof LayoutError) return false
    throw e
  }
}

/** So many legal layouts that differ in more than names of axes, those that split most first. */
function legal(r: Ready, mesh: Mesh, most: number, pick: number): Layout[] {
  const found: Layout[] = []
  for (const layout of distinctLayouts(layoutsOf(r.dims, mesh), mesh, pick)) {
    if (found.length >= most) break
    if (isLegal(r, mesh, layout)) found.push(layout)
  }
  return found
}

const prepared = cases.map(ready)

const reordered = (data: ArrayLike<number | bigint>, array: MeshArray): ArrayLike<number> => {
  if (data.length !== sizeOf(array.shape)) throw new Error('a result has another length than its shape')
  return Array.from(data, Number)
}

/** A case in a layout that is legal for it. */
interface Chosen { readonly ready: Ready; readonly layout: Layout }

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
    // Programs of so many cases compile in a fraction of the time that one of all takes.
    for (let from = 0; from < round.length; from += perProgram) wrong.push(...await wrongIn(round.slice(from, from + perProgram), mesh, backend))
  }
  if (backend.liveBuffers() !== 0) wrong.push(`${backend.liveBuffers()} buffers are left over`)
  return wrong
}
const perProgram = 24

async function wrongIn(chosen: readonly Chosen[], mesh: Mesh, backend: Backend): Promise<string[]> {
  const inputs = Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.inputs]))
  const layout: Layout = Object.assign({}, ...chosen.map(c => c.layout))
  const dims = Object.fromEntries(chosen.flatMap(c => c.ready.dims).map(d => [d.name, d]))
  const program = await compile((given: { readonly [name: string]: Inputs }) =>
    Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.f(given[`c${i}`] ?? {})])), [inputs], { mesh, layout, backend, dims })
  const results = await program(Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.data])))
  const wrong: string[] = []
  for (const [i, { ready, layout: own }] of chosen.entries()) {
    for (const [key, array] of Object.entries((results[`c${i}`] ?? {}) as { [k: string]: MeshArray })) {
      const error = relativeError(reordered(await array.read(), array), ready.expected[key] ?? [])
      // Not `>`: an error that is no number must count.
      if (!(error <= 1e-5)) wrong.push(`${ready.name} ${key} ${JSON.stringify(own)}: ${error}`)
      array.dispose()
    }
  }
  program.dispose()
  return wrong
}
