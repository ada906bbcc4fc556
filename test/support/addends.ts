/**
 * A device's program read again, knowing nothing of how it was made: which values are addends (or candidates for an extremum) along which axes follows from where its inputs
 * lie and from what its ops sum over, and none may reach an op that needs the value. What cannot be told is let pass.
 */
import { names } from '../../src/core/dim.ts'
import { bodiesOf, operand, reachable, shapeOf } from '../../src/graph/node.ts'
import { describeLocal, type LocalGraph, type LocalNode } from '../../src/partition/local.ts'
import { sender } from '../../src/partition/passes/flat.ts'
import { ownAxes } from '../../src/partition/passes/scatter.ts'

type Axes = readonly string[]
interface State {
  /** The axes of dims that are known to be split. */
  readonly dims: ReadonlyMap<string, Axes>
  /** Axes along which each device has an addend, or a candidate. */
  readonly addends: ReadonlyMap<string, string>
  /** It depends on which device this is, by more than the dims that are known to be split: a mask, a halo, what was split and is forgotten. */
  readonly own: boolean
  readonly zero: boolean
  /** Dims that came by a broadcast: whether they are split cannot be told, and so not what a sum over them is. */
  readonly spread?: ReadonlySet<string>
}
const nowhere: State = { dims: new Map(), addends: new Map(), own: false, zero: false }
const spreadOf = (states: readonly State[]): { readonly spread?: ReadonlySet<string> } => { const all = states.flatMap(s => [...s.spread ?? []]); return all.length === 0 ? {} : { spread: new Set(all) } }
const sumsSpread = (over: readonly string[], states: readonly State[]): boolean => over.some(d => states.some(s => s.spread?.has(d) === true) && !states.some(s => s.dims.has(d)))
const partial = (s: State): boolean => s.addends.size > 0
const list = (s: State): string => [...s.addends].map(([axis, kind]) => `${kind} along ${axis}`).sort().join(', ')
const without = <V>(map: ReadonlyMap<string, V>, ...keys: readonly string[]): Map<string, V> => new Map([...map].filter(([k]) => !keys.includes(k)))
const joined = (states: readonly State[]): Map<string, Axes> => new Map(states.flatMap(s => [...s.dims]))
const anyOwn = (states: readonly State[]): boolean => states.some(s => s.own)

/** What was known to be split and is no more differs from device to device all the same. */
const forgotten = (before: State, after: State): State => (after.dims.size < before.dims.size ? { ...after, own: true } : after)

const fault = (n: LocalNode, states: readonly State[], why: string): Error =>
  new Error(`${describeLocal(n)}: ${why}; its operands are ${states.map(s => (partial(s) ? `addends (${list(s)})` : 'values')).join(', ')}`)

type Rule = (n: LocalNode, states: readonly State[]) => State
const at = (states: readonly State[], i: number): State => states[i] ?? nowhere
/** Needs values. */
const whole: Rule = (n, states) => {
  if (states.some(partial)) throw fault(n, states, 'needs values')
  return { ...nowhere, own: anyOwn(states) || states.some(s => s.dims.size > 0) }
}
/** Of the first operand a linear function, if no other is made of addends. Where its dims lie is forgotten, but for those that `keep` has. */
const linear = (keep: (n: LocalNode, s: State) => ReadonlyMap<string, Axes>): Rule => (n, states) => {
  if (states.slice(1).some(partial)) throw fault(n, states, 'needs values')
  const first = at(states, 0)
  return forgotten(first, { dims: keep(n, first), addends: first.addends, own: anyOwn(states), zero: false, ...spreadOf(states) })
}
const elementwise: Rule = (n, states) => ({ ...whole(n, states), dims: joined(states), own: anyOwn(states), ...spreadOf(states) })
const forgetting = linear(() => new Map())

function addition(n: LocalNode<'binary'>, states: readonly State[]): State {
  const [a, b] = [at(states, 0), at(states, 1)]
  const [some, other] = partial(a) ? [a, b] : [b, a]
  const dims = joined(states)
  if (!partial(some)) return { ...nowhere, dims, own: anyOwn(states), zero: a.zero && b.zero, ...spreadOf(states) }
  // Added to all devices' addends, a value would be counted as often as there are devices.
  if (list(some) !== list(other) && !other.zero && !other.own) throw fault(n, states, 'adds a value to addends')
  return { dims, addends: new Map([...a.addends, ...b.addends]), own: anyOwn(states), zero: false, ...spreadOf(states) }
}
const binary: { readonly [fn: string]: (n: LocalNode<'binary'>, states: readonly State[]) => State } = {
  add: addition, sub: addition,
  mul: (n, states) => {
    if (states.every(partial)) throw fault(n, states, 'multiplies addends')
    const all = states.find(partial)
    return { dims: joined(states), addends: all?.addends ?? new Map<string, string>(), own: anyOwn(states), zero: false, ...spreadOf(states) }
  },
  div: (n, states) => ({ ...linear(() => joined(states))(n, states) }),
}

const summing = (over: readonly string[], kind: string, states: readonly State[], addends: ReadonlyMap<string, string>): State => {
  const dims = joined(states)
  // What an all-to-all of addends brought together is their sum.
  const here = over.includes(sender) ? dims.get(sender) ?? [] : []
  return { dims: without(dims, ...over), addends: new Map([...without(addends, ...here), ...over.filter(d => d !== sender).flatMap(d => dims.get(d) ?? []).map(a => [a, kind] as const)]), own: anyOwn(states) || sumsSpread(over, states), zero: false, ...spreadOf(states) }
}
const reducing = (axes: Axes, kind: string): Rule => (n, states) => {
  const { addends, ...first } = at(states, 0)
  const wrong = axes.find(a => addends.has(a) && addends.get(a) !== kind)
  if (wrong !== undefined) throw fault(n, states, `reduces by ${kind} along ${wrong}`)
  return { ...first, addends: without(addends, ...axes) }
}

type Table = { readonly [K in LocalNode['op']]?: (n: LocalNode<K>, states: readonly State[]) => State }
const table: Table = {
  constant: n => ({ ...nowhere, zero: n.attrs.value === 0 }), iota: () => nowhere, axisIndex: () => ({ ...nowhere, own: true }),
  broadcast: (n, s) => ({ ...at(s, 0), spread: new Set([...at(s, 0).spread ?? [], ...n.attrs.shape.map(d => d.name).filter(d => !names(shapeOf(operand(n, 0))).includes(d))]) }), barrier: (_, s) => at(s, 0),
  rename: (n, s) => ({ ...at(s, 0), dims: new Map([...at(s, 0).dims].map(([d, axes]) => [d === n.attrs.from ? n.attrs.to : d, axes])), spread: new Set([...at(s, 0).spread ?? []].map(d => (d === n.attrs.from ? n.attrs.to : d))) }),
  unary: (n, s) => (n.attrs.fn === 'neg' ? at(s, 0) : elementwise(n, s)), convert: (_, s) => at(s, 0),
  binary: (n, s) => (binary[n.attrs.fn] ?? elementwise)(n, s), compare: elementwise, threefry: elementwise,
  select: (n, s) => {
    if (partial(at(s, 0))) throw fault(n, s, 'chooses by addends')
    return { dims: joined(s), addends: new Map(s.slice(1).flatMap(x => [...x.addends])), own: anyOwn(s), zero: false, ...spreadOf(s) }
  },
  dot: (n, s) => {
    if (s.every(partial)) throw fault(n, s, 'multiplies addends')
    return summing(n.attrs.over, 'sum', s, s.find(partial)?.addends ?? new Map())
  },
  reduce: (n, s) => {
    const { addends } = at(s, 0)
    if ([...addends.values()].some(kind => kind !== n.attrs.kind)) throw fault(n, s, `is a ${n.attrs.kind} of others`)
    return summing(n.attrs.over, n.attrs.kind, s, addends)
  },
  splitDim: linear((n, s) => { const { dim, into } = n.attrs as LocalNode<'splitDim'>['attrs']; return into[0]?.name === dim ? s.dims : without(s.dims, dim) }) as Rule,
  mergeDims: linear((n, s) => without(s.dims, ...(n.attrs as LocalNode<'mergeDims'>['attrs']).from)) as Rule,
  resample: linear((n, s) => without(s.dims, (n.attrs as LocalNode<'resample'>['attrs']).dim)) as Rule,
  roll: linear((n, s) => without(s.dims, (n.attrs as LocalNode<'roll'>['attrs']).dim)) as Rule, reverse: linear((n, s) => without(s.dims, (n.attrs as LocalNode<'reverse'>['attrs']).dim)) as Rule,
  concat: (n, s) => {
    // Small collectives run as one: what of it are addends is what all of it are.
    const all = [...at(s, 0).addends].filter(([axis]) => s.every(x => x.addends.has(axis)))
    return forgotten({ ...nowhere, dims: joined(s) }, { dims: without(joined(s), n.attrs.dim.name), addends: new Map(all), own: anyOwn(s) || s.some(x => x.addends.size > all.length), zero: false })
  },
  dynamicSlice: (n, s) => {
    if (partial(at(s, 1))) throw fault(n, s, 'cuts at addends')
    const { dims, addends, own } = at(s, 0)
    const axes = ownAxes(n)
    if (axes === undefined) return forgotten(at(s, 0), { dims: without(dims, n.attrs.dim), addends, own: anyOwn(s), zero: false })
    return { dims: new Map([...dims, [n.attrs.to.name, [...dims.get(n.attrs.dim) ?? [], ...axes]]]), addends, own, zero: at(s, 0).zero }
  },
  take: forgetting,
  dynamicUpdate: (n, s) => {
    if (partial(at(s, 2))) throw fault(n, s, 'writes at addends')
    return { ...nowhere, addends: new Map([...at(s, 0).addends, ...at(s, 1).addends]), own: true }
  },
  scatterAdd: (_, s) => ({ ...nowhere, addends: new Map(s.flatMap(x => [...x.addends])), own: true }), cumulative: (n, s) => (n.attrs.kind === 'sum' ? forgetting : whole)(n, s),
  conv: (n, s) => { if (s.every(partial)) throw fault(n, s, 'multiplies addends'); return { ...nowhere, addends: s.find(partial)?.addends ?? new Map<string, string>(), own: true } },
  allReduce: (n, s) => reducing(n.attrs.axes, n.attrs.kind)(n, s),
  reduceScatter: (n, s) => { const r = reducing(n.attrs.axes, 'sum')(n, s); return { ...r, dims: new Map([...r.dims, [n.attrs.dim, [...r.dims.get(n.attrs.dim) ?? [], ...n.attrs.axes]]]) } },
  allGather: (n, s) => { const { dims, ...rest } = at(s, 0); const left = (dims.get(n.attrs.dim) ?? []).filter(a => !n.attrs.axes.includes(a)); return { ...rest, dims: left.length === 0 ? without(dims, n.attrs.dim) : new Map([...dims, [n.attrs.dim, left]]) } },
  allToAll: (n, s) => { const { dims, ...rest } = at(s, 0); return { ...rest, dims: new Map([...without(dims, n.attrs.from, n.attrs.to), ...(n.attrs.from === sender ? [[sender, n.attrs.axes] as const] : [])]), own: true } },
  permute: (_, s) => ({ ...at(s, 0), dims: new Map(), own: true }),
}

/** What a body makes of what enters it. */
function results(body: { readonly inputs: readonly LocalNode<'input'>[]; readonly outputs: readonly LocalNode[] }, given: readonly State[]): State[] {
  const states = new Map<LocalNode, readonly State[]>(body.inputs.map((p, i) => [p, [at(given, i)]]))
  const of = (n: LocalNode): State => states.get(n)?.[0] ?? nowhere
  for (const n of reachable(body.outputs)) {
    if (states.has(n)) continue
    const operands = n.inputs.map(of)
    if (n.op === 'project') states.set(n, [at(states.get(operand(n, 0)) ?? [], n.attrs.index)])
    else if (n.op === 'barrier') states.set(n, operands)
    else if (n.op === 'scan') states.set(n, ofLoop(n, operands))
    else if (n.op === 'cond') {
      if (partial(at(operands, 0))) throw fault(n, operands, 'chooses by addends')
      const [yes, no] = bodiesOf(n).map(b => results(b, operands.slice(1)))
      states.set(n, (yes ?? []).map((s, i) => (s.zero ? at(no ?? [], i) : s)))
    } else if (n.op === 'while') {
      if (operands.some(partial)) throw fault(n, operands, 'needs values')
      states.set(n, n.results.map(() => ({ ...nowhere, own: true })))
    } else states.set(n, [((table[n.op] ?? whole) as Rule)(n, operands)])
  }
  return body.outputs.map(of)
}

function ofLoop(n: LocalNode<'scan'>, operands: readonly State[]): State[] {
  const { carries, xs, over, body } = n.attrs
  const walked = operands.map((s, i) => (i >= carries && i < carries + xs ? { ...s, dims: without(s.dims, over.name) } : s))
  let carried = walked.slice(0, carries)
  for (let turn = 0; ; turn++) {
    const out = results(body, [...carried, ...walked.slice(carries)])
    const next = carried.map((s, i) => {
      const o = at(out, i)
      if (s.zero) return { ...o, zero: o.zero }
      if (list(s) !== list(o) && !o.zero && !s.own && !o.own) throw fault(n, [s, o], 'turns values into addends')
      return { dims: new Map([...s.dims].filter(([d, axes]) => o.dims.get(d)?.join() === axes.join())), addends: s.addends, own: s.own || o.own, zero: false }
    })
    if (turn > 0 && next.every((s, i) => list(s) === list(at(carried, i)) && s.dims.size === at(carried, i).dims.size && s.own === at(carried, i).own)) return [...carried, ...out.slice(carries)]
    carried = next
  }
}

/** @throws where an addend reaches an op that needs the value, or leaves the program */
export function checkAddends(graph: LocalGraph): void {
  const found = results(graph, graph.inputPlacements.map(p => ({ ...nowhere, dims: p.sharding })))
  found.forEach((s, i) => { if (partial(s)) throw new Error(`result ${i} is made of addends: ${list(s)}`) })
}
