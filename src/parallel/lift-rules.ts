/** How each op is computed for all stages at once, and for a part of the batch: see `lift.ts`. */
import { names, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { closeOver } from '../graph/close.ts'
import { condNodes } from '../graph/cond.ts'
import { converted, unrounded } from '../graph/half-precision.ts'
import { broadcastTo, fullNode, make } from '../graph/make.ts'
import { dtypeOf, operand, shapeOf, type Node, type Table } from '../graph/node.ts'
import { inputNode } from '../graph/input.ts'
import { scanNodes } from '../graph/scan.ts'
import { loose, tensor, where } from '../graph/tensor.ts'
import type { Lifting } from './lifting.ts'

type Rule = (n: Node, c: Lifting) => readonly Node[]
type Results = readonly Node[]

/** Every operand for itself: what the stages' dim does not touch. */
const plain: Rule = (n, c) => [make(n.op, c.each(n.inputs), n.attrs, n.site)]
/** Operands that must have the same dims. */
const elementwise: Rule = (n, c) => [make(n.op, c.alike(n), n.attrs, n.site)]
const along = (dims: readonly string[], rule: Rule): Rule => (n, c) => { c.apart(n, dims); return rule(n, c) }
const projects = (n: Node): Node[] => n.results.map((_, index) => make('project', [n], { index }, n.site))
const i32 = (value: number, like: Node): Node => fullNode(value, shapeOf(like), 'i32')
const op = (fn: 'add' | 'sub' | 'mul' | 'min' | 'max', a: Node, b: Node): Node => make('binary', [a, b], { fn })

/** The elements from a start on, moved so far that all lie inside. */
function starts(c: Lifting, start: Node, last: number): Node {
  const given = c.spread(c.of(start))
  return op('max', op('min', given, i32(last, given)), i32(0, given))
}

function scan(n: Node<'scan'>, c: Lifting): Results {
  const { body, carries, xs, over, reverse, keepsCollectives } = n.attrs
  if (c.isBatch(over)) c.apart(n, [over.name])
  const given = c.each(n.inputs)
  const lifted = given.map(c.isLifted)
  for (;;) {
    const walked = c.params(body.inputs.slice(0, carries + xs), i => lifted[i] === true)
    const inner = c.within(new Map<Node, Node>(body.inputs.map((p, i) => [p, walked[i] ?? given[i] ?? p])))
    const outputs = inner.each(body.outputs)
    const more = outputs.slice(0, carries).flatMap((y, i) => (c.isLifted(y) && lifted[i] !== true ? [i] : []))
    // A carry that becomes another for each stage enters as many times.
    for (const i of more) lifted[i] = true
    if (more.length > 0) continue
    const same = outputs.map((y, i) => (i < carries && lifted[i] === true ? c.spread(y) : y))
    return scanNodes(over, given.slice(0, carries).map((v, i) => (lifted[i] === true ? c.spread(v) : v)), given.slice(carries, carries + xs), walked, same, { reverse, ...(keepsCollectives ? { keepsCollectives } : {}) })
  }
}

function cond(n: Node<'cond'>, c: Lifting): Results {
  const { yes, no, atWork } = n.attrs
  const how = atWork === undefined ? {} : { atWork }
  const [predicate, ...given] = c.each(n.inputs)
  if (predicate === undefined) return []
  const params = c.params(yes.inputs, i => given[i] !== undefined && c.isLifted(given[i]))
  const [a = [], b = []] = [yes, no].map(branch => c.within(new Map<Node, Node>(branch.inputs.map((p, i) => [p, params[i] ?? p]))).each(branch.outputs))
  if (c.isLifted(predicate)) {
    // Stages choose each for itself; what none of a device's stages asks for it does not compute. A predicate that has dims chooses along them in the branch already.
    const others = b.map(c.spread)
    const chosen = shapeOf(operand(n, 0)).length > 0 ? a.map(c.spread)
      : a.map((y, i) => where(loose(tensor(broadcastTo(predicate, [c.stage, ...shapeOf(y).filter(d => d.name !== c.stage.name)]))), loose(tensor(c.spread(y))), loose(tensor(others[i] ?? y))).node)
    return condNodes(predicate, params, given, chosen, others, undefined, how)
  }
  const either = a.map((y, i) => c.isLifted(y) || c.isLifted(b[i] ?? y))
  const same = (branch: readonly Node[]): Node[] => branch.map((y, i) => (either[i] === true ? c.spread(y) : y))
  return condNodes(predicate, params, given, same(a), same(b), undefined, how)
}

function whileLoop(n: Node<'while'>, c: Lifting): Results {
  const given = c.each(n.inputs)
  if (given.every((v, i) => v === n.inputs[i])) return projects(n)
  throw new DimError({ code: 'while-differs', what: 'pipeline: a whileLoop in the blocks may take another number of turns in each stage', fix: 'use scan over a dim of the most turns there can be', at: n.site })
}

function recompute(n: Node<'recompute'>, c: Lifting): Results {
  const given = c.each(n.inputs)
  const params = c.params(n.attrs.body.inputs, i => given[i] !== undefined && c.isLifted(given[i]))
  const outputs = c.within(new Map<Node, Node>(n.attrs.body.inputs.map((p, i) => [p, params[i] ?? p]))).each(n.attrs.body.outputs)
  const { body, captures } = closeOver(params, outputs)
  return projects(make('recompute', [...given, ...captures], { ...n.attrs, body }, n.site))
}

/** The gradient that was given for one stage is traced, and lifted like what it is of. */
function customGradient(n: Node<'customGradient'>, c: Lifting): Results {
  const values = c.each(n.inputs)
  if (values.every((v, i) => v === n.inputs[i])) return [n]
  const lifts = values.some(c.isLifted)
  const [y, ...inputs] = n.inputs
  const [value, ...given] = values
  if (y === undefined || value === undefined) return [n]
  const stand = (like: Node): Node => inputNode('stand', 'compute', { shape: shapeOf(like), dtype: dtypeOf(like) })
  return [make('customGradient', [lifts ? c.spread(value) : value, ...given], {
    ...n.attrs,
    vjp: (g, result, own) => {
      // One that was narrowed is seen to have been: rules that can take it as it was do.
      const wide = unrounded(g)
      const cotangent = inputNode('stand', 'compute', { shape: shapeOf(y), dtype: dtypeOf(wide) })
      const [standing, ...stands] = [y, ...inputs].map(stand)
      if (standing === undefined) return []
      const found = n.attrs.vjp(converted(cotangent, dtypeOf(y)), standing, stands)
      const inner = c.within(new Map<Node, Node>([[cotangent, wide], [standing, result], ...stands.map((s, i) => [s, own[i] ?? s] as const)]), true)
      return found.map((d, i) => (d === undefined ? undefined : c.like(inner.of(d), own[i] ?? d)))
    },
  }, n.site)]
}

function dynamicSlice(n: Node<'dynamicSlice'>, c: Lifting): Results {
  const { dim, to } = n.attrs
  c.apart(n, [dim])
  const [x, start] = [operand(n, 0), operand(n, 1)]
  if (!c.isLifted(c.of(start))) return plain(n, c)
  const size = shapeOf(x).find(d => d.name === dim)?.size ?? to.size
  const first = starts(c, start, size - to.size)
  const places = [c.stage, to]
  return [make('take', [c.spread(c.of(x)), op('add', broadcastTo(first, places), broadcastTo(make('iota', [], { dim: to }), places))], { dim }, n.site)]
}

function dynamicUpdate(n: Node<'dynamicUpdate'>, c: Lifting): Results {
  const { dim } = n.attrs
  c.apart(n, [dim])
  const [x, update, start] = [operand(n, 0), operand(n, 1), operand(n, 2)]
  if (!c.isLifted(c.of(start))) {
    const [a, b] = c.each([x, update])
    const both = c.isLifted(a ?? x) || c.isLifted(b ?? update)
    return [make('dynamicUpdate', [...[a ?? x, b ?? update].map(v => (both ? c.spread(v) : v)), c.of(start)], n.attrs, n.site)]
  }
  const whole: Dim = shapeOf(x).find(d => d.name === dim) ?? { name: dim, size: 1 }
  const part: Dim = shapeOf(update).find(d => d.name === dim) ?? whole
  const places = [c.stage, whole]
  const from = op('sub', broadcastTo(make('iota', [], { dim: whole }), places), broadcastTo(starts(c, start, whole.size - part.size), places))
  const inside = tensor<string>(from).greaterEqual(0).and(tensor<string>(from).less(part.size))
  const values = tensor<string>(c.spread(c.of(update))).take(dim, tensor<string>(from))
  const target = tensor<string>(c.spread(c.of(x)))
  return [where(tensor<string>(broadcastTo(inside.node, target.shape)), tensor<string>(broadcastTo(values.node, target.shape)), target).node]
}

/** Zeros for each stage, and what is added to them. */
function scatterAdd(n: Node<'scatterAdd'>, c: Lifting): Results {
  c.apart(n, names(shapeOf(operand(n, 0))), true)
  const [indices, updates] = c.alike(n)
  if (indices === undefined || updates === undefined || !c.isLifted(indices)) return plain(n, c)
  const gone = new Set(names(shapeOf(indices)))
  const target = [c.stage, n.attrs.dim, ...shapeOf(updates).filter(d => !gone.has(d.name))]
  return [make('scatter', [fullNode(0, target, dtypeOf(updates)), indices, updates], { dim: n.attrs.dim.name, kind: 'add' }, n.site)]
}

/** The rule of every op. */
export const rules: Table<Results, [Lifting]> = {
  input: n => [n],
  constant: n => [n],
  iota: (n, c) => {
    const { dim } = n.attrs
    const { cut, stage } = c
    if (cut === undefined || !c.isBatch(dim)) return [n]
    const shape = [stage, { name: dim.name, size: cut.part.size }]
    const row = op('mul', broadcastTo(make('iota', [], { dim: { name: dim.name, size: cut.part.size } }), shape), fullNode(cut.parts, shape, 'i32'))
    return [op('add', row, broadcastTo(cut.at, shape))]
  },
  broadcast: (n, c) => {
    const x = c.of(operand(n, 0))
    return [make('broadcast', [x], { shape: [...c.isLifted(x) ? [c.stage] : [], ...c.shrunk(n.attrs.shape)] }, n.site)]
  },
  rename: (n, c) => {
    const { from, to } = n.attrs
    if (shapeOf(operand(n, 0)).some(d => d.name === from && c.isBatch(d))) c.calls(from, to)
    return plain(n, c)
  },
  relayout: plain, stopGradient: plain, named: plain, stored: plain, customGradient,
  unary: plain, binary: elementwise, compare: elementwise, select: elementwise, convert: plain, threefry: elementwise,
  dot: (n, c) => {
    c.apart(n, n.attrs.over, true)
    const operands = c.each(n.inputs)
    return [make('dot', operands, operands.every(c.isLifted) ? { ...n.attrs, each: c.stage.name } : n.attrs, n.site)]
  },
  reduce: (n, c) => { c.apart(n, n.attrs.over, n.attrs.kind === 'sum'); return plain(n, c) },
  splitDim: (n, c) => along([n.attrs.dim], plain)(n, c),
  mergeDims: (n, c) => along(n.attrs.from, plain)(n, c),
  resample: (n, c) => along([n.attrs.dim], plain)(n, c),
  roll: (n, c) => along([n.attrs.dim], plain)(n, c),
  reverse: (n, c) => along([n.attrs.dim], plain)(n, c),
  concat: (n, c) => along([n.attrs.dim.name], elementwise)(n, c),
  take: (n, c) => along([n.attrs.dim], plain)(n, c),
  scatter: (n, c) => {
    const target = new Set(names(shapeOf(operand(n, 0))))
    return along([n.attrs.dim, ...names(shapeOf(operand(n, 1))).filter(d => !target.has(d))], elementwise)(n, c)
  },
  dynamicSlice, dynamicUpdate,
  sort: (n, c) => { c.apart(n, [n.attrs.dim]); return projects(make('sort', c.alike(n), n.attrs, n.site)) },
  topK: (n, c) => { c.apart(n, [n.attrs.dim]); return projects(make('topK', c.each(n.inputs), n.attrs, n.site)) },
  cumulative: (n, c) => along([n.attrs.dim], plain)(n, c),
  scatterAdd,
  conv: (n, c) => { c.apart(n, n.attrs.over, true); return along(n.attrs.windows.flatMap(w => [w.x, w.w]), plain)(n, c) },
  scan, cond, while: whileLoop, recompute,
  barrier: (n, c) => projects(make('barrier', c.each(n.inputs), {}, n.site)),
  project: n => [n],
}
