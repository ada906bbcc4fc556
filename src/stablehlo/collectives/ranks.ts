/**
 * Collectives between processes, one device each: custom calls that a native library answers (native/handlers.c). XLA may run
 * calls that do not depend on each other in any order, and every process must run them in the same one: a token chains them,
 * through loops too. The library gathers and scatters along the first dim; other dims are moved there and back by XLA.
 */
import { names } from '../../core/dim.ts'
import type { Mesh } from '../../core/mesh.ts'
import { operand, shapeOf } from '../../graph/node.ts'
import type { ReduceKind } from '../../graph/ops.ts'
import { describeLocal, type LocalNode } from '../../partition/local.ts'
import { betweenDevices } from '../extrema.ts'
import { ownCall, ownCalls } from '../own-call.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from '../writer.ts'
import type { CollectiveWriter } from './writer.ts'

type Type = Pick<Ssa, 'sizes' | 'dtype'>
type Collectives = 'allReduce' | 'allGather' | 'reduceScatter' | 'allToAll' | 'permute'

const kinds: { readonly [K in ReduceKind]: number } = { sum: 0, max: 1, min: 2, prod: 3 }

/** A collective as the library has it: its name and number there, what enters it of the operand, and what comes of its result. */
interface Form<K extends Collectives> {
  readonly name: string
  readonly number: number
  readonly enter: (n: LocalNode<K>, x: Ssa, w: Writer) => Ssa
  readonly result: (n: LocalNode<K>, entered: Type) => Type
  readonly leave: (n: LocalNode<K>, y: Ssa, w: Writer) => Ssa
}
type Forms = { readonly [K in Collectives]: Form<K> }

/** The same value with dim `from` at place `to`. */
function move(w: Writer, x: Ssa, from: number, to: number): Ssa {
  const order = x.sizes.map((_, i) => i).filter(i => i !== from)
  order.splice(to, 0, from)
  return w.transpose(x, order)
}
const placeOf = (n: LocalNode, dim: string): number => names(shapeOf(n)).indexOf(dim)
const asItIs = (_: unknown, x: Ssa): Ssa => x

const forms: Forms = {
  allReduce: { name: 'all_reduce', number: 0, enter: asItIs, result: (_, x) => x, leave: asItIs },
  allGather: {
    name: 'all_gather', number: 1, enter: asItIs,
    result: (n, x) => ({ sizes: [n.attrs.parts, ...x.sizes], dtype: x.dtype }),
    leave: (n, y, w) => w.reshape(move(w, y, 0, placeOf(n, n.attrs.dim)), typeOfNode(n).sizes),
  },
  reduceScatter: {
    name: 'reduce_scatter', number: 2,
    enter: (n, x, w) => {
      const { sizes } = typeOfNode(n)
      const at = placeOf(n, n.attrs.dim)
      return move(w, w.reshape(x, [...sizes.slice(0, at), n.attrs.parts, ...sizes.slice(at)]), at, 0)
    },
    result: n => typeOfNode(n), leave: asItIs,
  },
  allToAll: {
    name: 'all_to_all', number: 3,
    enter: (n, x, w) => {
      // The parts of `to` come first, for the library; what comes back are the senders' parts of `from`.
      const { to, parts } = n.attrs
      const cutAt = placeOf(n, to)
      return move(w, w.reshape(x, x.sizes.flatMap((size, i) => (i === cutAt ? [parts, size / parts] : [size]))), cutAt, 0)
    },
    result: (_, x) => x,
    leave: (n, y, w) => w.reshape(move(w, y, 0, placeOf(n, n.attrs.from)), typeOfNode(n).sizes),
  },
  permute: { name: 'permute', number: 4, enter: asItIs, result: n => typeOfNode(n), leave: asItIs },
}

/** What the library is told of a collective. */
function config(n: LocalNode<Collectives>, w: Writer, mesh: Mesh, more: readonly string[]): string {
  const axes = n.attrs.axes.map(a => mesh.axes.findIndex(axis => axis.name === a))
  const kind = n.op === 'allReduce' ? n.attrs.kind : n.op === 'reduceScatter' ? 'sum' : undefined
  return [
    `at = ${JSON.stringify(w.place)}`, `axes = ${i64s(axes)}`, ...more, ...kind === undefined ? [] : [`kind = ${kinds[kind]} : i32`],
    `mesh = ${i64s(mesh.axes.map(a => a.size))}`, ...n.op === 'permute' ? [`pairs = ${i64s(n.attrs.pairs.flat())}`] : [],
    `what = ${JSON.stringify(describeLocal(n).toLowerCase())}`,
  ].join(', ')
}

/** One collective: consumes the token and leaves the next. */
function call(name: string, n: LocalNode<Collectives>, x: Ssa, result: Type, w: Writer, mesh: Mesh): Ssa {
  const [value, token] = ownCalls(w, name, [x, w.takeToken()], [result, w.tokenType], { config: config(n, w, mesh, []), effect: true, inPlace: name === 'all_reduce' ? 0 : undefined })
  if (value === undefined || token === undefined) throw new Error(`${name} has two results`)
  w.leaveToken(token)
  return value
}

function atOnce<K extends Collectives>(op: K, n: LocalNode<K>, x: Ssa, w: Writer, mesh: Mesh): Ssa {
  const form: Form<K> = forms[op]
  const entered = form.enter(n, x, w)
  return form.leave(n, call(form.name, n as LocalNode<Collectives>, entered, form.result(n, entered), w, mesh), w)
}

/** Begun: what it leaves is a number by which it is waited for; 0, where `when` says that it is not to begin. */
function start<K extends Collectives>(op: K, n: LocalNode<K>, x: Ssa, w: Writer, mesh: Mesh, when: readonly Ssa[]): Ssa {
  const form: Form<K> = forms[op]
  const said = config(n as LocalNode<Collectives>, w, mesh, [`collective = ${form.number} : i32`])
  const [ticket, token] = ownCalls(w, 'start', [form.enter(n, x, w), ...when, w.takeToken()], [{ sizes: [], dtype: 'u32' }, w.tokenType], { config: said, effect: true })
  if (ticket === undefined || token === undefined) throw new Error('a start has two results')
  w.leaveToken(token)
  return ticket
}
/** Waits once `after` are computed: XLA knows no other order than that of what depends on what. */
function wait<K extends Collectives>(op: K, n: LocalNode<K>, ticket: Ssa, after: readonly Ssa[], w: Writer): Ssa {
  const form: Form<K> = forms[op]
  // Of what enters only the type is needed, which ops on it would have.
  const entered = entering(n as LocalNode<Collectives>)
  return form.leave(n, ownCall(w, 'await', [ticket, ...after], form.result(n, entered), { effect: true }), w)
}
const entering = (n: LocalNode<Collectives>): Type => {
  const { sizes, dtype } = typeOfNode(operand(n, 0))
  if (n.op !== 'allToAll') return { sizes, dtype }
  const cutAt = placeOf(n, n.attrs.to)
  return { sizes: [n.attrs.parts, ...sizes.map((size, i) => (i === cutAt ? size / n.attrs.parts : size))], dtype }
}

const isCollective = (n: LocalNode): n is LocalNode<Collectives> => n.op in forms

export const ranks: CollectiveWriter = {
  ordered: true,
  device: w => ownCall(w, 'device', [], { sizes: [], dtype: 'u32' }),
  allReduce: (n, x, w, mesh) => betweenDevices(w, n.attrs.kind, x, v => call('all_reduce', n, v, v, w, mesh)),
  allGather: (n, x, w, mesh) => atOnce('allGather', n, x, w, mesh),
  reduceScatter: (n, x, w, mesh) => atOnce('reduceScatter', n, x, w, mesh),
  allToAll: (n, x, w, mesh) => atOnce('allToAll', n, x, w, mesh),
  permute: (n, x, w, mesh) => atOnce('permute', n, x, w, mesh),
  skip: (w, count) => { for (const token of ownCalls(w, 'skip', [w.takeToken()], [w.tokenType], { config: `count = ${count} : i64`, effect: true })) w.leaveToken(token) },
}

/** The same, where they can be under way while a device computes. */
export const flyingRanks: CollectiveWriter = {
  ...ranks,
  flights: {
    start: (n, x, w, mesh, when) => { if (!isCollective(n)) throw new Error(`${n.op} is no collective`); return start(n.op, n, x, w, mesh, when) },
    wait: (n, ticket, after, w) => { if (!isCollective(n)) throw new Error(`${n.op} is no collective`); return wait(n.op, n, ticket, after, w) },
  },
}
