/** A random program: what it is drawn as, and how it is built from that. Dims carry a prefix, so that many share one program. */
import fc from 'fast-check'
import { dim, nameOf, sizeOf, type Dim } from '../../src/core/dim.ts'
import { isFloat } from '../../src/core/dtype.ts'
import { partsOf, type Mesh } from '../../src/core/mesh.ts'
import { expectDims, full, grad, input, iota, loose, mesh, param, type AnyTensor, type Layout, type Layouts, type Scalar, type Tensor } from '../../src/engine/index.ts'

export type T = Tensor<string>
/** Numbers that pick operands, dims and ways; each op takes what of them it can use. */
export interface Step { readonly op: number; readonly x: number; readonly y: number; readonly dim: number; readonly way: number }
export interface Drawn {
  readonly steps: readonly Step[]
  /** Tensors over dims a to e. */
  readonly sizes: readonly number[]
  /** The letters of each input's dims. */
  readonly inputs: readonly (readonly number[])[]
  readonly mesh: number
  /** Which letter each axis splits under each kind of rules; the last may give an axis to a second dim. */
  readonly layout: readonly number[]
  readonly params: readonly number[] | null
  readonly state: readonly number[] | null
  /** The rules of a layout that the program names, and which one it starts from by its last number. */
  readonly named: readonly number[] | null
  /** The rules of sums of microbatches' gradients. */
  readonly gradients: readonly number[] | null
  /** Which axes the stages of pipelines lie on, a bit each, and nothing else of what is computed; and whether their layers rest there. */
  readonly stages: number
  /** f64, in which a difference is a fault; else f32, without what jumps. */
  readonly sharp: boolean
  /** The same program in f64, though it is not sharp. */
  readonly wide?: true
  readonly seed: number
}
const dtypeOf = (p: Drawn): 'f64' | 'f32' => (p.sharp || p.wide === true ? 'f64' : 'f32')

export const meshes = [{ x: 1 }, { x: 2 }, { x: 2, y: 2 }, { x: 4 }, { x: 2, y: 4 }, { x: 2, y: 2, z: 2 }, { x: 3 }, { x: 6 }, { x: 3, y: 2 }]
const letters = ['a', 'b', 'c', 'd', 'e']
/** Dims that ops make, of any size: two more than a tensor of four dims can have. */
const fresh = ['p', 'q', 'r', 's', 't', 'u']
const small = fc.nat(999)
const rules = fc.array(fc.nat(12), { minLength: 4, maxLength: 4 })

export const drawn: fc.Arbitrary<Drawn> = fc.record({
  steps: fc.array(fc.record({ op: small, x: small, y: small, dim: small, way: small }), { minLength: 3, maxLength: 30, size: 'max' }),
  sizes: fc.array(fc.constantFrom(4, 2, 8, 4, 6, 2, 8, 3, 1), { minLength: 5, maxLength: 5 }),
  inputs: fc.array(fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 4 }),
  mesh: fc.nat(meshes.length - 1), layout: rules,
  params: fc.option(rules), state: fc.option(rules, { freq: 1 }), named: fc.option(rules), gradients: fc.option(rules, { freq: 1 }), stages: fc.nat(15),
  sharp: fc.nat(9).map(n => n !== 9), seed: fc.nat(1e6),
})

/** Axes to dims, as far as sizes allow; with the last number an axis now and then goes to one dim more. */
function layoutOf(p: Drawn, where: Mesh, numbers: readonly number[], dims: readonly Dim[], taken: readonly string[] = []): Layout {
  const all: { [dim: string]: string[] } = {}
  const give = (axis: string, n: number): void => {
    const d = dims[n]
    const wanted = [...(d === undefined ? [] : all[d.name] ?? []), axis]
    if (d !== undefined && new Set(wanted).size === wanted.length && (n >= letters.length || d.size % partsOf(where, wanted) === 0)) all[d.name] = wanted
  }
  const axes = where.axes.map(a => a.name).filter(a => !taken.includes(a))
  const order = (numbers[0] ?? 0) % 2 === 0 ? axes : [...axes].reverse()
  order.forEach((axis, i) => { give(axis, numbers[i] ?? 0) })
  const again = axes[(numbers[3] ?? 0) % 3]
  if (p.seed % 4 === 0 && again !== undefined) give(again, (p.seed >> 2) % letters.length)
  return all
}

/** Where the stages of pipelines lie: on four devices at most. */
const stageAxes = (p: Drawn, where: Mesh): readonly string[] =>
  where.axes.filter((_, i) => (p.stages >> i) % 2 === 1).map(a => a.name).reduce<readonly string[]>((all, a) => (partsOf(where, [...all, a]) > 4 ? all : [...all, a]), [])

/** What an op sees: the tensors so far, and numbers made into choices among them. */
export class Making {
  readonly mesh: Mesh
  readonly dtype: 'f64' | 'f32'
  readonly sharp: boolean
  readonly made: T[]
  /** How many parts the stages of pipelines are in, and the name of their layers' dim. */
  readonly stageParts: number
  readonly layers: string
  readonly #dims: ReadonlyMap<string, Dim>
  readonly #prefix: string
  constructor(p: Drawn, where: Mesh, prefix: string, given: readonly T[]) {
    this.mesh = where
    this.sharp = p.sharp
    this.dtype = dtypeOf(p)
    this.#prefix = prefix
    this.stageParts = partsOf(where, stageAxes(p, where))
    this.layers = `${prefix}layers`
    this.made = [...given]
    this.#dims = new Map(letters.map((l, i) => [`${prefix}${l}`, dim(`${prefix}${l}`, p.sizes[i] ?? 1)]))
  }
  pick<X>(from: readonly X[], n: number): X {
    const found = from[n % from.length]
    if (found === undefined) throw new Error('nothing to pick from')
    return found
  }
  float(n: number): T { return this.pick(this.made.filter(t => isFloat(t.dtype)).reverse(), n) }
  /** Integers, of any size. */
  ints(n: number): T { return this.pick(this.made.filter(t => t.dtype === 'i32'), n) }
  /** A float tensor none of whose dims has another size than x's. */
  fitting(x: T, n: number): T {
    return this.pick(this.made.filter(t => isFloat(t.dtype) && t.shape.every(d => x.shape.every(e => e.name !== d.name || e.size === d.size))).reverse(), n)
  }
  /** A dim of x, which has one. */
  of(x: T, n: number): Dim { return this.pick(x.shape, n) }
  base(n: number): Dim { return this.pick([...this.#dims.values()], n) }
  /** A dim with a name that none of the tensors has. */
  free(n: number, size: number, ...besides: readonly T[]): Dim {
    const taken = new Set(besides.flatMap(t => t.shape.map(d => d.name)))
    const names = fresh.map(f => `${this.#prefix}${f}`).filter(f => !taken.has(f))
    return dim(this.pick(names, n), size)
  }
  has(x: T, d: Dim): boolean { return x.shape.some(e => e.name === d.name) }
  /** x with the dims of y too. */
  wide(x: T, y: T): T { return y.shape.every(d => this.has(x, d)) ? x : x.dot(this.ones(y.shape.filter(d => !this.has(x, d)))) }
  ones(shape: readonly Dim[]): T { return loose(full(1, shape, this.dtype)) }
  /** x with no two elements alike, however they were computed. */
  apart(x: T): T {
    const steps = x.shape.reduce<T>((sum, d, i) => this.wide(sum, loose(full(1, [d], this.dtype))).add(loose(iota(d)).cast(this.dtype).mul(1.37 + 2.91 * i ** 2)), this.ones([]))
    // Scaled, so that what was kept apart and negated cannot cancel what keeps it apart.
    return x.mul(0.83).add(steps.sin().mul(0.7))
  }
  /** x as the layout that the program names has it. */
  named(x: T): T { return x.relayout(`${this.#prefix}named`, 'compute') }
  /** Rules for some of x's dims. */
  rules(x: T, n: number): Layout {
    const free = this.mesh.axes.map(a => a.name)
    const all: { [dim: string]: string[] } = {}
    let rest = n
    for (const axis of free) {
      const d = x.shape[rest % (x.shape.length + 1)]
      rest = Math.floor(rest / (x.shape.length + 1))
      if (d !== undefined && d.size % partsOf(this.mesh, [...(all[d.name] ?? []), axis]) === 0) all[d.name] = [...(all[d.name] ?? []), axis]
    }
    return all
  }
}

export type Op = (m: Making, s: Step) => T | readonly T[]

export interface Ready {
  readonly drawn: Drawn
  readonly mesh: Mesh
  readonly given: readonly T[]
  readonly data: readonly (Float64Array | Float32Array | Int32Array)[]
  readonly layout: Layout
  readonly params?: Layout
  readonly state?: Layout
  readonly gradients?: Layout
  readonly layouts?: NonNullable<Layouts['layouts']>
  readonly dims: { readonly [name: string]: Dim }
  /** Every value of the program, and the gradients of a loss over all of them. */
  readonly f: (given: readonly T[]) => readonly AnyTensor[]
  /** The functions that the program calls. */
  readonly calls: readonly string[]
}

/** The same numbers for the same seed, evenly between −1 and 1. */
export function* numbers(seed: number): Generator<number> {
  for (let state = seed * 2654435761 % 4294967296; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state / 2147483648 - 1
  }
}

export function ready(p: Drawn, registry: { readonly [name: string]: Op }, prefix = ''): Ready {
  const where = mesh(meshes[p.mesh] ?? { x: 1 })
  const dims = letters.map((l, i) => dim(`${prefix}${l}`, p.sizes[i] ?? 1))
  const dtype = dtypeOf(p)
  const of = (numbers: readonly number[]): Dim[] => numbers.flatMap(n => dims[n] ?? [])
  const ids = input(`${prefix}ids`, of(p.inputs[0]?.slice(0, 2) ?? []), 'i32') as T
  const given = [...p.inputs.map((n, i) => (i === 0 ? input(`${prefix}x${i}`, of(n), dtype) : param(`${prefix}x${i}`, of(n), dtype)) as T), ids]
  const stream = numbers(p.seed)
  const next = (): number => stream.next().value as number
  const data = given.map(t => {
    const drawn = Array.from({ length: sizeOf(t.shape) }, next)
    return t.dtype === 'i32' ? Int32Array.from(drawn, v => Math.floor(v * 5 + 4)) : dtype === 'f64' ? Float64Array.from(drawn) : Float32Array.from(drawn)
  })
  const entries = Object.entries(registry)
  const calls = p.steps.map(s => entries[s.op % entries.length]?.[0] ?? '')
  const build = (given: readonly T[]): readonly T[] => {
    const m = new Making(p, where, prefix, given)
    for (const [i, s] of p.steps.entries()) {
      const op = registry[calls[i] ?? '']
      const next = op?.(m, s) ?? []
      for (const t of [next].flat() as T[]) if (t.shape.length <= 4 && sizeOf(t.shape) <= 512) m.made.push(t)
    }
    return m.made.slice(given.length)
  }
  const loss = (given: readonly T[]): Scalar => expectDims(build(given).filter(t => isFloat(t.dtype)).reduce((sum, t) => sum.add(t.sin().mean()), loose(full(0, [], dtype))), [])
  const f = (given: readonly T[]): readonly AnyTensor[] => {
    const weights = given.filter(t => isFloat(t.dtype))
    const gradients = grad((w: readonly T[]) => loss([...w, ...given.slice(weights.length)]))(weights)
    return [...build(given), ...gradients.map((g, i) => (i > 0 ? loose(g).relayout('params') : g))]
  }
  const named = [...dims, ...fresh.map(n => dim(`${prefix}${n}`, 24))]
  const rules = (n: readonly number[], taken?: readonly string[]): Layout => layoutOf(p, where, n, named, taken)
  const stages = calls.some(name => name.startsWith('pipeline')) ? stageAxes(p, where) : []
  const onStages: Layout = stages.length === 0 ? {} : { stage: stages, ...(p.stages > 7 ? { [`${prefix}layers`]: stages } : {}) }
  const from = ['compute', 'params', 'state'][(p.named?.[3] ?? 0) % 3] ?? 'compute'
  return {
    drawn: p, mesh: where, given, data, f, calls, layout: { ...rules(p.layout, stages), ...onStages }, ...(p.params === null ? {} : { params: rules(p.params) }), ...(p.state === null ? {} : { state: rules(p.state) }), ...(p.gradients === null ? {} : { gradients: { from: p.seed % 2 === 0 ? 'params' : 'state', ...rules(p.gradients) } }), ...(p.named === null ? {} : { layouts: { [`${prefix}named`]: { from, ...rules(p.named) }, ...(p.stages % 4 === 1 ? { attention: { from: 'compute', ...rules([...p.named].reverse()) } } : p.stages % 4 === 2 ? { experts: { from: 'compute', ...rules([...p.named].reverse()) } } : {}) } }),
    dims: Object.fromEntries([...named, dim('stage', 12), dim(`${prefix}layers`, 12)].map(d => [nameOf(d), d])),
  }
}
