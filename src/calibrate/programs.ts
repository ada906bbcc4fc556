/** Small programs whose turns are timed: products, elementwise kernels, collectives, and loops with nothing in them, in a device's own language. */
import { dim, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Mesh } from '../core/mesh.ts'
import { partsOf } from '../core/mesh.ts'
import { interner, shapeOf, typeOf, type Make, type TensorType } from '../graph/node.ts'
import { localInfer, type LocalAttrs, type LocalGraph, type LocalNode } from '../partition/local.ts'
import type { Product } from '../cost/price.ts'
import type { CollectiveKind } from '../partition/collectives.ts'

/** A loop that runs as many turns as its first input says. Its other inputs are `given`; its one result is a number. */
export interface Looped { readonly graph: LocalGraph; readonly given: readonly TensorType[] }

type Turn = (make: Make<LocalAttrs>, carried: readonly LocalNode[], fixed: readonly LocalNode[]) => readonly LocalNode[]

/** The loop whose turn makes the carried values anew, beside others that stay. */
export function looped(mesh: Mesh, carried: readonly TensorType[], fixed: readonly TensorType[], turn: Turn): Looped {
  const make = interner<LocalAttrs>(localInfer, () => undefined, new Map())
  let serial = 0
  const input = (type: TensorType): LocalNode<'input'> => make('input', [], { name: `x${serial}`, role: 'compute', serial: serial++, type })
  const count: TensorType = { shape: [], dtype: 'i32' }
  const types = [count, ...carried, count, ...fixed]
  const inside = types.map(input)
  const [counter, limit] = [inside[0], inside[carried.length + 1]]
  if (counter === undefined || limit === undefined) throw new Error('a loop has no counter')
  const one = make('constant', [], { value: 1, dtype: 'i32' })
  const next = turn(make, inside.slice(1, carried.length + 1), inside.slice(carried.length + 2))
  const carries = carried.length + 1
  const attrs = { condition: { inputs: inside, outputs: [make('compare', [counter, limit], { direction: 'LT' })] }, body: { inputs: inside, outputs: [make('binary', [counter, one], { fn: 'add' }), ...next] }, carries }
  const outside = [count, ...carried, ...fixed].map(input)
  const [turns, ...others] = outside
  if (turns === undefined) throw new Error('a loop has no turns')
  const zero = make('constant', [], { value: 0, dtype: 'i32' })
  const loop = make('while', [zero, ...others.slice(0, carried.length), turns, ...others.slice(carried.length)], attrs)
  // One number comes back, and every carried value has to be there for it.
  const read = carried.map((_, i): LocalNode => {
    const value = make('project', [loop], { index: i + 1 })
    const first = shapeOf(value).reduce<LocalNode>((x, d) => make('splitDim', [make('resample', [x], { dim: d.name, to: dim(d.name, 1), start: 0, step: 1, dilation: 1, fill: 0 })], { dim: d.name, into: [] }), value)
    return make('convert', [first], { dtype: 'f32' })
  })
  const [head, ...rest] = read
  const outputs = [rest.reduce<LocalNode>((sum, r) => make('binary', [sum, r], { fn: 'add' }), head ?? make('convert', [make('project', [loop], { index: 0 })], { dtype: 'f32' }))]
  const placements = (nodes: readonly LocalNode[]) => nodes.map(n => ({ ...typeOf(n), sharding: new Map<string, readonly string[]>() }))
  return { graph: { inputs: outside, outputs, mesh, inputPlacements: placements(outside), outputPlacements: placements(outputs) }, given: [...carried, ...fixed] }
}

const vector = (n: number, dtype: DType = 'f32'): TensorType => ({ shape: [dim('i', n)], dtype })
const given = (n: LocalNode | undefined): LocalNode => {
  if (n === undefined) throw new Error('a turn lacks an operand')
  return n
}

/** Two products a turn: by a matrix, and by it the other way round. */
export function products(mesh: Mesh, { m, n, k, batch, dtype }: Product): Looped {
  const [b, rows, inner, columns] = [dim('b', batch), dim('m', m), dim('k', k), dim('n', n)]
  const lead: readonly Dim[] = batch > 1 ? [b] : []
  return looped(mesh, [{ shape: [...lead, rows, inner], dtype }], [{ shape: [...lead, inner, columns], dtype }], (make, [x], [w]) => {
    const [left, right] = [given(x), given(w)]
    return [make('dot', [make('dot', [left, right], { over: ['k'] }), right], { over: ['n'] })]
  })
}

/** Causal attention of so many windows, as one device computes it. */
export interface Windows { readonly batch: number; readonly seq: number; readonly heads: number; readonly size: number }
/** Attention twice a turn, of what attended before. */
export function attention(mesh: Mesh, { batch, seq, heads, size }: Windows): Looped {
  const [b, s, t, h, d] = [dim('b', batch), dim('s', seq), dim('t', seq), dim('h', heads), dim('d', size)]
  const keys: TensorType = { shape: [b, t, h, d], dtype: 'f32' }
  return looped(mesh, [{ shape: [b, s, h, d], dtype: 'f32' }], [keys, keys], (make, [q], [k, v]) => {
    const scored = [b, h, s, t]
    const number = (value: number): LocalNode => make('broadcast', [make('constant', [], { value, dtype: 'f32' })], { shape: scored })
    const place = (of: Dim): LocalNode => make('iota', [], { dim: of })
    const sees = make('compare', [make('broadcast', [place(s)], { shape: [s, t] }), make('broadcast', [place(t)], { shape: [s, t] })], { direction: 'GE' })
    const attend = (query: LocalNode): LocalNode => {
      const scores = make('select', [make('broadcast', [sees], { shape: scored }), make('dot', [query, given(k)], { over: ['d'] }), number(-1e9)], {})
      const over = (x: LocalNode, kind: 'max' | 'sum'): LocalNode => make('broadcast', [make('reduce', [x], { kind, over: ['t'] })], { shape: scored })
      const exponents = make('unary', [make('binary', [scores, over(scores, 'max')], { fn: 'sub' })], { fn: 'exp' })
      const shares = make('binary', [exponents, over(exponents, 'sum')], { fn: 'div' })
      return make('broadcast', [make('dot', [shares, given(v)], { over: ['t'] })], { shape: [b, s, h, d] })
    }
    return [attend(attend(given(q)))]
  })
}

/** A batch of square pictures: `side` along both, so many channels. */
export interface Pictures { readonly batch: number; readonly side: number; readonly channels: number; readonly features: number }
const windowOf = (x: string, w: string, out: Dim, width: number): LocalAttrs['conv']['windows'][number] => ({ x, w, out, stride: 1, low: (width - 1) / 2, xDilation: 1, wDilation: 1 })
const pictures = ({ batch, side }: Pictures, at: string, channel: Dim): TensorType => ({ shape: [dim('b', batch), dim(`h${at}`, side), dim(`w${at}`, side), channel], dtype: 'f32' })

/** Two convolutions a turn, of windows of 3 × 3: to the features and back. */
export function convolutions(mesh: Mesh, of: Pictures): Looped {
  const [c, f] = [dim('c', of.channels), dim('f', of.features)]
  return looped(mesh, [pictures(of, '0', c)], [{ shape: [dim('p', 3), dim('q', 3), c, f], dtype: 'f32' }], (make, [x], [w]) => {
    const kernel = given(w)
    const conv = (v: LocalNode, over: string, from: number, to: number): LocalNode =>
      make('conv', [v, kernel], { over: [over], windows: [windowOf(`h${from}`, 'p', dim(`h${to}`, of.side), 3), windowOf(`w${from}`, 'q', dim(`w${to}`, of.side), 3)] })
    return [conv(conv(given(x), 'c', 0, 1), 'f', 1, 0)]
  })
}

/** The gradient of such a convolution's weights a turn, whose window is as large as the pictures, and the convolution by it. */
export function convolutionGradients(mesh: Mesh, of: Pictures): Looped {
  const [c, f] = [dim('c', of.channels), dim('f', of.features)]
  return looped(mesh, [pictures(of, '1', f)], [pictures(of, '0', c)], (make, [g], [x]) => {
    const input = given(x)
    const kernel = make('conv', [input, given(g)], { over: ['b'], windows: [windowOf('h0', 'h1', dim('p', 3), 3), windowOf('w0', 'w1', dim('q', 3), 3)] })
    return [make('conv', [input, kernel], { over: ['c'], windows: [windowOf('h0', 'p', dim('h1', of.side), 3), windowOf('w0', 'q', dim('w1', of.side), 3)] })]
  })
}

/** So many kernels a turn, each of which reads and writes an array of its own. */
export const streams = (mesh: Mesh, count: number, elements: number): Looped =>
  looped(mesh, Array.from({ length: count }, () => vector(elements)), [], (make, xs) => xs.map(x => make('unary', [x], { fn: 'abs' })))

/** Columns of the matrix that `inTurn` multiplies by: few, so that a product takes little beside a kernel that reads and writes as much. */
const narrow = 32
/**
 * Products by a small matrix one after another, so many a turn; with `mapped`, after each a kernel that takes the larger of its numbers and as many of an array of its own, which it writes anew. Each follows from the one before, as
 * most do in a step, where XLA for CPUs would run others at once. As there, one operand was written just before, and the other one, as what lies beside a layer, has not been touched for long.
 */
export const inTurn = (mesh: Mesh, of: InTurn): Looped => kernelsInTurn(mesh, of, (_, last) => last)
interface InTurn { readonly elements: number; readonly count: number; readonly mapped: boolean }
/** What comes of the last one is made by `end`. */
function kernelsInTurn(mesh: Mesh, { elements, count, mapped }: InTurn, end: (make: Make<LocalAttrs>, last: LocalNode) => LocalNode): Looped {
  const [r, k] = [dim('r', Math.max(1, elements / narrow)), dim('k', narrow)]
  const array: TensorType = { shape: [r, k], dtype: 'f32' }
  return looped(mesh, Array.from({ length: mapped ? count : 1 }, () => array), [{ shape: [k, dim('n', narrow)], dtype: 'f32' }], (make, xs, [w]) => {
    const product = (v: LocalNode): LocalNode => make('rename', [make('dot', [v, given(w)], { over: ['k'] })], { from: 'n', to: 'k' })
    const made: LocalNode[] = []
    for (let i = 0; i < count; i++) {
      const multiplied = product(given(made.at(-1) ?? xs.at(-1)))
      made.push(mapped ? make('binary', [multiplied, given(xs[i])], { fn: 'max' }) : multiplied)
    }
    return [...mapped ? made.slice(0, -1) : [], end(make, given(made.at(-1)))]
  })
}

/**
 * The same, and at the end of a turn a small all-reduce along these axes that the next turn waits for, or as much work without it. Each kernel is one thread's: what several share evens itself out, and most of a step's are not shared.
 */
export const waits = (mesh: Mesh, { elements, count, along }: { readonly elements: number; readonly count: number; readonly along: readonly string[] }): Looped =>
  kernelsInTurn(mesh, { elements, count, mapped: true }, (make, last) => {
    const [rows, columns] = shapeOf(last)
    const row = make('splitDim', [make('resample', [last], { dim: 'r', to: dim('r', 1), start: 0, step: 1, dilation: 1, fill: 0 })], { dim: 'r', into: [] })
    const told = along.length > 0 ? make('allReduce', [row], { kind: 'max', axes: along }) : row
    return make('binary', [last, make('broadcast', [told], { shape: [rows, columns].flatMap(d => d ?? []) })], { fn: 'add' })
  })

/** Two matrices a turn, each turned over into the place of the other. */
export const turnedOver = (mesh: Mesh, rows: number, columns: number): Looped => {
  const [r, c] = [dim('r', rows), dim('c', columns)]
  return looped(mesh, [{ shape: [r, c], dtype: 'f32' }, { shape: [c, r], dtype: 'f32' }], [], (make, [x, y]) => [make('broadcast', [given(y)], { shape: [r, c] }), make('broadcast', [given(x)], { shape: [c, r] })])
}

/** Two copies a turn, each of which lays the parts that devices have of rows side by side, as around a collective among ranks. What comes of one is seen as parts again. */
export const partsTogether = (mesh: Mesh, rows: number, columns: number, count: number): Looped => {
  const [p, r, c] = [dim('p', count), dim('r', rows), dim('c', columns / count)]
  return looped(mesh, [{ shape: [p, r, c], dtype: 'f32' }], [], (make, [x]) => {
    const laid = (parts: LocalNode): LocalNode =>
      make('splitDim', [make('mergeDims', [make('broadcast', [parts], { shape: [r, p, c] })], { from: ['r', 'p', 'c'], into: dim('n', rows * columns) })], { dim: 'n', into: [p, r, c] })
    return [laid(laid(given(x)))]
  })
}

/** A kernel a turn, of `length` additions and multiplications one after another. */
export const chains = (mesh: Mesh, elements: number, length: number): Looped =>
  looped(mesh, [vector(elements)], [vector(elements)], (make, [x], [y]) => [Array.from({ length }, (_, i) => i).reduce<LocalNode>((v, i) => make('binary', [v, given(y)], { fn: i % 2 === 0 ? 'mul' : 'add' }), given(x))])

/**
 * A kernel a turn that applies a function to `count` multiples of a value and adds the results up. They do not follow from each other: one that did would wait for the other's last instruction, as nothing does where an
 * element has one of them. What comes out lies between a tenth and 1, where no function takes a way of its own.
 */
export function applied(mesh: Mesh, fn: string, elements: number, count: number): Looped {
  const dtype = fn === 'threefry' ? 'u32' : 'f32'
  const type = vector(elements, dtype)
  const unary = ['exp', 'log', 'tanh', 'sqrt', 'sin', 'erf'].find(f => f === fn) as 'exp' | undefined
  return looped(mesh, [type], [type], (make, [x], [y]) => {
    const [a, b] = [given(x), given(y)]
    const full = (value: number): LocalNode => make('broadcast', [make('constant', [], { value, dtype })], { shape: type.shape })
    const of = (i: number): LocalNode => {
      const multiple = make('binary', [a, full(dtype === 'u32' ? 2 * i + 3 : 0.5 + i / 16)], { fn: 'mul' })
      return dtype === 'u32' ? make('threefry', [b, b, multiple, b], {}) : unary !== undefined ? make('unary', [multiple], { fn: unary }) : make('binary', [b, multiple], { fn: fn as 'div' })
    }
    const sum = Array.from({ length: count - 1 }, (_, i) => i + 1).reduce<LocalNode>((v, i) => make('binary', [v, of(i)], { fn: 'add' }), of(0))
    return [dtype === 'u32' ? sum : make('binary', [make('binary', [sum, full(1)], { fn: 'min' }), full(0.1)], { fn: 'max' })]
  })
}

/** A sum over the last or the first of two dims a turn, and a kernel that adds it to what it was the sum of. */
export const sums = (mesh: Mesh, rows: number, columns: number, over: 'r' | 'c'): Looped => {
  const shape = [dim('r', rows), dim('c', columns)]
  return looped(mesh, [{ shape, dtype: 'f32' }], [], (make, [x]) => {
    const a = given(x)
    return [make('binary', [a, make('broadcast', [make('reduce', [a], { kind: 'sum', over: [over] })], { shape })], { fn: 'mul' })]
  })
}

/** Operations one after another in such a kernel, about as many as the gradient of a pool has. */
const fromPartsLength = 24
/**
 * A kernel a turn of additions and multiplications with a row that all have in common: as it lies, or put together of two parts of a larger array, as weights are that were gathered with others; then XLA computes one number at a time.
 */
export const fromParts = (mesh: Mesh, rows: number, columns: number, apart: boolean): Looped => {
  const shape = [dim('r', rows), dim('c', columns)]
  const part: TensorType = { shape: [dim('p', 2), dim('q', columns)], dtype: 'f32' }
  return looped(mesh, [{ shape, dtype: 'f32' }], [apart ? part : { shape: [dim('c', columns)], dtype: 'f32' }], (make, [x], [w]) => {
    const row = apart ? make('mergeDims', [make('resample', [given(w)], { dim: 'q', to: dim('q', columns / 2), start: columns / 4, step: 1, dilation: 1, fill: 0 })], { from: ['p', 'q'], into: dim('c', columns) }) : given(w)
    const all = make('broadcast', [row], { shape })
    return [Array.from({ length: fromPartsLength }, (_, i) => i).reduce<LocalNode>((v, i) => make('binary', [v, all], { fn: i % 2 === 0 ? 'mul' : 'add' }), given(x))]
  })
}

/** Rows added at random places of a table, and read from it. */
export const scattered = (mesh: Mesh, table: number, rows: number, width: number): Looped => {
  const [v, r, c] = [dim('v', table), dim('r', rows), dim('c', width)]
  return looped(mesh, [{ shape: [r, c], dtype: 'f32' }], [{ shape: [r], dtype: 'i32' }], (make, [x], [at]) => {
    const [updates, indices] = [given(x), given(at)]
    return [make('take', [make('scatterAdd', [indices, updates], { dim: v }), indices], { dim: 'v' })]
  })
}

/** One collective a turn, or several that know nothing of each other; what changes the shape is cut or repeated to what enters. `bytes` enter on each device. */
export function collective(mesh: Mesh, kind: CollectiveKind, axes: readonly string[], bytes: number, count = 1): Looped {
  const n = partsOf(mesh, axes)
  const elements = Math.max(n, Math.ceil(bytes / 4 / n) * n)
  const [i, j] = [dim('i', kind === 'all-to-all' ? n : elements), dim('j', elements / n)]
  const shape = kind === 'all-to-all' ? [i, j] : [i]
  const cut = (make: Make<LocalAttrs>, x: LocalNode, to: number): LocalNode => make('resample', [x], { dim: 'i', to: dim('i', to), start: 0, step: 1, dilation: 1, fill: 0 })
  return looped(mesh, Array.from({ length: count }, () => ({ shape, dtype: 'f32' as const })), [], (make, carried) => carried.map(x => {
    const forms: { readonly [K in CollectiveKind]: () => LocalNode } = {
      'all-reduce': () => make('allReduce', [x], { kind: 'max', axes }),
      'all-gather': () => cut(make, make('allGather', [x], { dim: 'i', axes, parts: n }), elements),
      'reduce-scatter': () => cut(make, make('reduceScatter', [x], { dim: 'i', axes, parts: n }), elements),
      'all-to-all': () => {
        const parts = make('splitDim', [make('allToAll', [x], { from: 'j', to: 'i', axes, parts: n })], { dim: 'j', into: [dim('t', n), dim('u', elements / n)] })
        return make('rename', [make('rename', [make('splitDim', [parts], { dim: 'i', into: [] })], { from: 't', to: 'i' })], { from: 'u', to: 'j' })
      },
      permute: () => make('permute', [x], { axes, pairs: Array.from({ length: n }, (_, p) => [p, (p + 1) % n] as const) }),
    }
    return forms[kind]()
  }))
}
