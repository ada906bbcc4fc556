/** Cases as programs: their operands and weights, one function for the value and the gradients, the layouts that are legal, runs. */
import { dim, sizeOf, type Dim } from '../../src/core/dim.ts'
import { isFloat, type TypedArray } from '../../src/core/dtype.ts'
import { LayoutError } from '../../src/core/errors.ts'
import { mesh as meshOf, type Mesh } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'
import { compile, expectDims, grad, input, loose, plan, type AnyTensor, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { typeOf } from '../../src/graph/node.ts'
import type { Graph } from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { partition } from '../../src/partition/partition.ts'
import type { Case } from '../cases/index.ts'
import { distinctLayouts, layoutsOf } from './layouts.ts'
import { drawnOperand } from './operand.ts'
import { drawn, seedOf } from './values.ts'

type Inputs = { readonly [name: string]: Tensor<string> }
export interface Ready extends Pick<Case, 'tolerance'> {
  readonly name: string
  readonly dims: readonly Dim[]
  /** What its dims' names begin with, so that many cases share one program. */
  readonly prefix: string
  /** `i0`, `i1`, …: the operands, then the weights. */
  readonly inputs: Inputs
  readonly data: { readonly [name: string]: TypedArray }
  /** `value`, and by operand, `di0`, …, the gradient of its product with the weights. */
  readonly f: (inputs: Inputs) => { readonly [name: string]: AnyTensor }
}

export function ready(c: Case, index: number): Ready {
  const [prefix, seed] = [`c${index}_`, seedOf(c.name)]
  const own = Object.fromEntries(Object.entries(c.dims).map(([name, size]) => [name, dim(`${prefix}${name}`, size)]))
  const parsed = c.in.map((text, i) => drawnOperand(text, own, `${prefix}x${i}`, seed + i))
  const y = c.f(parsed.map(p => p.tensor), own)
  const weights = input(`${prefix}w`, y.shape) as Tensor<string>
  const inputs = Object.fromEntries([...parsed.map(p => p.tensor), weights].map((t, i) => [`i${i}`, t]))
  const data = Object.fromEntries([...parsed.map(p => p.data), drawn(typeOf(weights.node), seed + 99)].map((d, i) => [`i${i}`, d]))
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
  return { name: c.name, ...(c.tolerance === undefined ? {} : { tolerance: c.tolerance }), dims: Object.values(own), prefix, inputs, data, f }
}

/** Traced once for all layouts. */
const graphs = new WeakMap<Ready, Graph>()
function graphOf(r: Ready): Graph {
  const found = graphs.get(r) ?? plan(r.f, [r.inputs], { mesh: meshOf({}), layout: {} }).graph
  graphs.set(r, found)
  return found
}

/** Whether every tensor of the case can lie so. */
export function isLegal(r: Ready, mesh: Mesh, layout: Layout): boolean {
  try {
    partition(graphOf(r), mesh, { layout }, r.dims)
    return true
  } catch (e) {
    if (e instanceof LayoutError) return false
    throw e
  }
}

/** So many legal layouts that differ in more than names of axes, those that split most first. */
export function legal(r: Ready, mesh: Mesh, most: number, pick: number): Layout[] {
  const found: Layout[] = []
  for (const layout of distinctLayouts(layoutsOf(r.dims, mesh), mesh, pick)) {
    if (found.length >= most) break
    if (isLegal(r, mesh, layout)) found.push(layout)
  }
  return found
}

/** A case in a layout that is legal for it. */
export interface Chosen { readonly ready: Ready; readonly layout: Layout }
/** One result of a case, its dims in the order of the elements. */
export interface Result { readonly chosen: Chosen; readonly key: string; readonly shape: readonly Dim[]; readonly data: ArrayLike<number> }

/** All of them in one program. */
export async function runTogether(chosen: readonly Chosen[], mesh: Mesh, backend: Backend): Promise<Result[]> {
  const inputs = Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.inputs]))
  const layout: Layout = Object.assign({}, ...chosen.map(c => c.layout))
  const dims = Object.fromEntries(chosen.flatMap(c => c.ready.dims).map(d => [d.name, d]))
  const program = await compile((given: { readonly [name: string]: Inputs }) =>
    Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.f(given[`c${i}`] ?? {})])), [inputs], { mesh, layout, backend, dims })
  const results = await program(Object.fromEntries(chosen.map((c, i) => [`c${i}`, c.ready.data])))
  const found: Result[] = []
  for (const [i, c] of chosen.entries()) {
    for (const [key, array] of Object.entries((results[`c${i}`] ?? {}) as { [k: string]: MeshArray })) {
      const data = Array.from(await array.read(), Number)
      if (data.length !== sizeOf(array.shape)) throw new Error('a result has another length than its shape')
      found.push({ chosen: c, key, shape: array.shape, data })
      array.dispose()
    }
  }
  program.dispose()
  return found
}
/** Programs of so many cases compile in a fraction of the time that one of all takes. */
export const perProgram = 24
