/** The table of cases on a mesh: legal layouts, forward and gradient, against the reference evaluator. */
import { dim, sizeOf, type Dim } from '../../src/core/dim.ts'
import { isFloat } from '../../src/core/dtype.ts'
import { LayoutError } from '../../src/core/errors.ts'
import type { Mesh } from '../../src/core/mesh.ts'
import type { Layout } from '../../src/core/layout.ts'
import { compile, expectDims, grad, input, loose, plan, type AnyTensor, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { typeOf } from '../../src/graph/node.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { cases, type Case } from '../cases/index.ts'
import { layoutsOf } from './layouts.ts'
import { drawn, relativeError } from './values.ts'

type Inputs = { readonly [name: string]: Tensor<string> }
interface Ready {
  readonly name: string
  readonly dims: readonly Dim[]
  readonly inputs: Inputs
  readonly data: { readonly [name: string]: Float32Array | Int32Array }
  /** The value, and the gradient of its product with fixed weights. */
  readonly f: (inputs: Inputs) => { readonly [name: string]: AnyTensor }
  /** f64. */
  readonly expected: { readonly [name: string]: ArrayLike<number> }
}

/** A case with dims of its own names, so that many share one program. */
function ready(c: Case, index: number): Ready {
  const own = Object.fromEntries(Object.entries(c.dims).map(([name, size]) => [name, dim(`c${index}_${name}`, size)]))
  const parsed = c.in.map((text, i) => {
    const [, names = '', mark = ''] = /^([\w ]*)(\+|#\d+)?$/.exec(text) ?? []
    const shape = names.split(' ').filter(n => n !== '').map(n => own[n] ?? dim('missing', 1))
    const tensor = input(`c${index}_x${i}`, shape, mark.startsWith('#') ? 'i32' : 'f32') as Tensor<string>
    const range = mark === '+' ? { low: 0.5, high: 1.5 } : mark.startsWith('#') ? { below: Number(mark.slice(1)) } : {}
    return { tensor, data: drawn(typeOf(tensor.node), 100 * index + i, range) }
  })
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
const shareFactor = (a: number, b: number): boolean => { while (b !== 0) [a, b] = [b, a % b]; return a > 1 }

/** So many legal layouts, from all over the list of all; fewer where there are fewer. */
function legal(r: Ready, mesh: Mesh, most: number): Layout[] {
  const all = layoutsOf(r.dims, mesh)
  // Steps that share no factor with the number of layouts visit all of them.
  let step = Math.max(1, Math.round(all.length * 0.38))
  while (shareFactor(step, all.length)) step++
  const found: Layout[] = []
  for (let i = 0; i < all.length && found.length < most; i++) {
    const layout = all[(i * step) % all.length] ?? {}
    if (isLegal(r, mesh, layout)) found.push(layout)
  }
  return found
}

const prepared = cases.map(ready)

const reordered = (data: ArrayLike<number | bigint>, array: MeshArray): ArrayLike<number> => {
  if (data.length !== sizeOf(array.shape)) throw new Error('a result has another length than its shape')
  return Array.from(data, Number)
}

/** Runs all cases `rounds` times, in another layout each time, and says where a number differs. */
export async function wrongOn(mesh: Mesh, backend: Backend, rounds: number): Promise<string[]> {
  const layouts = prepared.map(r => legal(r, mesh, rounds))
  const most = Math.min(rounds, Math.max(...layouts.map(l => l.length)))
  const wrong: string[] = []
  for (let round = 0; round < most; round++) {
    const chosen = layouts.map(l => l[round % l.length] ?? {})
    const inputs = Object.fromEntries(prepared.map((r, i) => [`c${i}`, r.inputs]))
    const layout: Layout = Object.assign({}, ...chosen)
    const program = await compile((given: { readonly [name: string]: Inputs }) =>
      Object.fromEntries(prepared.map((r, i) => [`c${i}`, r.f(given[`c${i}`] ?? {})])), [inputs], { mesh, layout, backend, dims: Object.fromEntries(prepared.flatMap(r => r.dims).map(d => [d.name, d])) })
    const results = await program(Object.fromEntries(prepared.map((r, i) => [`c${i}`, r.data])))
    for (const [i, r] of prepared.entries()) {
      for (const [key, array] of Object.entries((results[`c${i}`] ?? {}) as { [k: string]: MeshArray })) {
        const found = await array.read()
        const error = relativeError(reordered(found, array), r.expected[key] ?? [])
        // Not `>`: an error that is no number must count.
        if (!(error <= 1e-5)) wrong.push(`${r.name} ${key} ${JSON.stringify(chosen[i])}: ${error}`)
        array.dispose()
      }
    }
    program.dispose()
  }
  if (backend.liveBuffers() !== 0) wrong.push(`${backend.liveBuffers()} buffers are left over`)
  return wrong
}
