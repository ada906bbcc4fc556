/** A random program on a backend beside the reference evaluator: the largest difference. */
import { isFloat } from '../../src/core/dtype.ts'
import { DimError, LayoutError } from '../../src/core/errors.ts'
import { compile, plan, print, type AnyTensor, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf, type Value } from '../../src/graph/reference/values.ts'
import { checkAddends } from '../support/addends.ts'
import { relativeError } from '../support/values.ts'
import { numbers, ready, type Drawn, type Ready, type T } from './program.ts'
import { registry } from './registry.ts'

const inputsOf = (r: Ready): Node<'input'>[] => r.given.map(t => t.node).filter(n => n.op === 'input')
function expectedOf(r: Ready, outputs: readonly AnyTensor[], rounded?: (v: Value) => Value): ArrayLike<number>[] {
  const nodes = inputsOf(r)
  return evaluate({ inputs: nodes, outputs: outputs.map(o => o.node) }, nodes.map((n, i) => valueOf(typeOf(n), r.data[i] ?? [])), rounded).map(v => v.data)
}
/**
 * How far each result in f32 moves when every value on its way is moved by a few roundings, up or down at random (stochastic arithmetic:
 * Parker, Monte Carlo Arithmetic, 1997). The cosine of a product of 1e7, say, is noise in f32: no two programs agree on it, and neither is wrong.
 */
function noiseOf(r: Ready, outputs: readonly AnyTensor[], expected: readonly ArrayLike<number>[]): number[] {
  const coins = numbers(r.drawn.seed)
  const moved = (v: Value): Value => (isFloat(v.dtype) ? { ...v, data: v.data.map(x => x * (1 + 2 ** -22 * (coins.next().value as number))) } : v)
  return expectedOf(r, outputs, moved).map((m, k) => 4 * relativeError(m, expected[k] ?? []))
}

export interface Verdict {
  readonly wrong?: string
  readonly refused?: true
  /** How many programs in f32 were further off than 1e-3, but not further than roundings move them, and hold to 1e-8 in f64. */
  readonly noisy?: number
  readonly calls: readonly string[]
}

/** Whether every tensor of the program can lie as the rules say. */
export function isLegal(p: Drawn): boolean {
  const r = ready(p, registry)
  try {
    plan(((...given: readonly T[]) => r.f(given)) as (...given: readonly T[]) => Tree, r.given, { mesh: r.mesh, dims: r.dims, layout: r.layout })
    return true
  } catch (e) {
    if (e instanceof LayoutError) return false
    throw e
  }
}

/** Programs of one mesh, as one program. */
export async function verdict(programs: readonly Drawn[], backend: Backend): Promise<Verdict> {
  const all = programs.map((p, i) => ready(p, registry, programs.length > 1 ? `p${i}` : ''))
  const [first] = all
  if (first === undefined) return { calls: [] }
  const calls = all.flatMap(r => r.calls)
  const merged = (pick: (r: Ready) => object | undefined): object => Object.assign({}, ...all.map(r => pick(r) ?? r.layout)) as object
  const layouts = { layout: merged(r => r.layout), ...(all.some(r => r.params) ? { params: merged(r => r.params) } : {}), ...(all.some(r => r.state) ? { state: merged(r => r.state) } : {}), ...(all.some(r => r.gradients) ? { gradients: merged(r => r.gradients) } : {}), layouts: Object.assign({}, ...all.map(r => r.layouts ?? {})) as object, uses: Object.fromEntries(all.flatMap(r => Object.keys(r.layouts ?? {}).map(name => [name, 'compute'] as const))) }
  try {
    const outputs = all.map(r => r.f(r.given))
    const f = (...given: readonly (readonly T[])[]): Tree => all.map((r, i) => r.f(given[i] ?? []))
    const compiled = await compile(f as unknown as (...given: readonly T[]) => Tree, all.map(r => r.given) as unknown as readonly T[], { mesh: first.mesh, backend, dims: merged(r => r.dims) as Ready['dims'], ...layouts })
    checkAddends(compiled.local)
    const results = await compiled(...all.map(r => r.data) as unknown as readonly never[]) as unknown as readonly (readonly MeshArray[])[]
    const wrong: string[] = []
    const noisy: Drawn[] = []
    for (const [i, r] of all.entries()) {
      const expected = expectedOf(r, outputs[i] ?? [])
      const isWide = r.drawn.sharp || r.drawn.wide === true
      const errors: number[] = []
      for (const [k, result] of (results[i] ?? []).entries()) {
        errors.push(relativeError(Array.from(await result.read(), Number), expected[k] ?? []))
        result.dispose()
      }
      const off = errors.flatMap((error, k) => (error <= (isWide ? 1e-8 : 1e-3) ? [] : [{ error, k }]))
      const noise = isWide || off.length === 0 ? [] : noiseOf(r, outputs[i] ?? [], expected)
      const faults = isWide ? off : off.filter(({ error, k }) => !(error <= (noise[k] ?? 0)))
      if (off.length > 0 && faults.length === 0) noisy.push({ ...r.drawn, wide: true })
      wrong.push(...faults.map(({ error, k }) => `program ${i}, result ${k} of ${errors.length}: relative error ${error}`))
    }
    compiled.dispose()
    if (backend.liveBuffers() !== 0) wrong.push(`${backend.liveBuffers()} buffers are left over`)
    // What rounding hides in f32 must hold in f64, where it hides nothing.
    for (const p of noisy) {
      const { wrong: still } = await verdict([p], backend)
      if (still !== undefined) wrong.push(`in f64, ${still}`)
    }
    return wrong.length > 0 ? { wrong: wrong.slice(0, 5).join('\n'), calls } : { calls, ...(noisy.length > 0 ? { noisy: noisy.length } : {}) }
  } catch (e) {
    // What cannot be laid out so is refused, with the line it stands on.
    if (e instanceof LayoutError && e.problem.at !== undefined) return { refused: true, calls }
    return { wrong: e instanceof DimError || e instanceof LayoutError ? `${e.message}\n${e.stack ?? ''}` : e instanceof Error ? e.stack ?? e.message : String(e), calls }
  }
}

/** A program as its graph, with all that its numbers depend on. */
export function shown(p: Drawn): string {
  const r = ready(p, registry)
  const given = [`mesh ${JSON.stringify(Object.fromEntries(r.mesh.axes.map(a => [a.name, a.size])))}`, `layout ${JSON.stringify(r.layout)}`, `params ${JSON.stringify(r.params ?? null)}`, `state ${JSON.stringify(r.state ?? null)}`, `gradients ${JSON.stringify(r.gradients ?? null)}`, `layouts ${JSON.stringify(r.layouts ?? null)}`, `calls ${r.calls.join(', ')}`]
  try {
    return [...given, print({ inputs: inputsOf(r), outputs: r.f(r.given).map(o => o.node) }), JSON.stringify(p)].join('\n')
  } catch (e) {
    return [...given, e instanceof Error ? e.message : String(e), JSON.stringify(p)].join('\n')
  }
}
