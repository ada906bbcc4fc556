/**
 * The gradient of a loop is a loop the other way. The forward loop is run with more ys: what the backward body needs and may
 * not, or should not, recompute. It shares its body's nodes with the loop it came from, so `mergeScans` makes one of both.
 */
import { hiddenName, names } from '../core/dim.ts'
import { converted, cotangentIn, sumsIn, unrounded } from '../graph/half-precision.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode, make, rewrite } from '../graph/make.ts'
import { dtypeOf, operand, reachable, shapeOf, typeOf, type Node, type TensorType } from '../graph/node.ts'
import { scanNodes } from '../graph/scan.ts'
import { activeInputs } from './active.ts'
import { keepsCollectives } from './policy.ts'
import { moved, residuals } from './residuals.ts'
import { sumOf, type Cotangents, type Wanted } from './vjps/vjp.ts'

const zeros = (n: Node): Node => fullNode(0, shapeOf(n), dtypeOf(n))

/** A value to be stacked along a dim that it may have already, where a loop inside walks a dim of the same name. */
function renamed(n: Node, over: string): { readonly node: Node; readonly back: (n: Node) => Node } {
  const taken = new Set(names(shapeOf(n)))
  if (!taken.has(over)) return { node: n, back: m => m }
  let to = hiddenName(over, 'inner')
  while (taken.has(to)) to = hiddenName(to, 'inner')
  return { node: make('rename', [n], { from: over, to }), back: m => make('rename', [m], { from: to, to: over }) }
}

export function scanVjp(n: Node<'scan'>, g: Cotangents, { wants, keep, pullback }: Wanted): Cotangents {
  const { body, carries, xs, over, reverse } = n.attrs
  const active = activeInputs(n, body, carries, wants)
  const carryIn = body.inputs.slice(0, carries)
  const live = carryIn.filter(p => active.has(p))
  const carryIndex = carryIn.map((_, i) => i).filter(i => active.has(carryIn[i] ?? n))

  // The backward body: cotangents of the carries walk in, those of the ys are walked over.
  const summed = (p: Node): TensorType => ({ shape: shapeOf(p), dtype: sumsIn(dtypeOf(p)) })
  // A carry's cotangent is a sum over all turns that used it: of halves in f32, as those of what all turns share.
  const dCarry = live.map((p, i) => inputNode(`d.carry${i}`, 'compute', summed(p)))
  const ys = body.outputs.map((_, i) => i).filter(i => i >= carries && g[i] !== undefined)
  // What was narrowed on its way to the ys is walked over as it was.
  const slopes = ys.map(i => unrounded(g[i] ?? n))
  const dYs = ys.map((i, k) => inputNode(`d.y${i - carries}`, 'compute', { ...typeOf(body.outputs[i] ?? n), dtype: dtypeOf(slopes[k] ?? n) }))
  const roots = [...carryIndex, ...ys].map(i => body.outputs[i] ?? n)
  const wrt = [...active]
  const found = pullback(roots, [...dCarry, ...dYs].map((d, i) => converted(d, dtypeOf(roots[i] ?? d))), wrt, keep)
  const flowing = new Map(wrt.map((p, i) => [p, found[i]]))
  const cotangent = (p: Node): Node | undefined => flowing.get(p)

  const capturesFrom = carries + xs
  const dXs = body.inputs.map((p, i) => ({ i, d: i >= carries && i < capturesFrom ? cotangent(p) : undefined })).filter(x => x.d !== undefined)
  const dCaptures = body.inputs.map((p, i) => ({ i, p, d: i >= capturesFrom ? cotangent(p) : undefined })).filter(x => x.d !== undefined)
  const sums = dCaptures.map(({ p }, i) => inputNode(`d.sum${i}`, 'compute', summed(p)))
  const outputs = [
    ...live.map(p => cotangentIn(cotangent(p) ?? zeros(p), summed(p).dtype)),
    ...dCaptures.map(({ d, p }, i) => sumOf(sums[i], cotangentIn(d ?? p, summed(p).dtype))),
    ...dXs.map(({ d, i }) => d ?? operand(n, i)),
  ]

  // The forward loop again, with what must be kept among its ys.
  const saved = residuals(outputs, body, carries, keep)
  const { away, back } = moved(body, keep)
  const stackable = saved.map(s => renamed(away(s), over.name))
  const loop = saved.length === 0 ? n : make('scan', n.inputs, { ...n.attrs, body: { inputs: body.inputs, outputs: [...body.outputs, ...stackable.map(s => s.node)] } })
  const stacks = saved.map((_, i) => make('project', [loop], { index: body.outputs.length + i }))

  // The backward body speaks of the forward one's values: kept ones and the xs are walked over, captures captured.
  const savedParams = stackable.map((s, i) => inputNode(`saved${i}`, 'compute', typeOf(s.node)))
  const walked = body.inputs.slice(carries, capturesFrom)
  const walkedParams = walked.map(p => inputNode(p.attrs.name, p.attrs.role, p.attrs.type))
  const replaced = new Map<Node, Node>()
  saved.forEach((s, i) => replaced.set(s, back(s, stackable[i]?.back(savedParams[i] ?? s) ?? s)))
  walked.forEach((p, i) => replaced.set(p, walkedParams[i] ?? p))
  body.inputs.slice(capturesFrom).forEach((p, i) => replaced.set(p, operand(n, capturesFrom + i)))
  const rewritten = rewrite(outputs, reachable(outputs), replaced)

  const init = [
    ...live.map((p, i) => cotangentIn(g[carryIndex[i] ?? 0] ?? zeros(p), summed(p).dtype)),
    ...dCaptures.map(({ p }) => fullNode(0, shapeOf(p), summed(p).dtype)),
  ]
  const results = scanNodes(
    over, init, [...stacks, ...n.inputs.slice(carries, capturesFrom), ...slopes],
    [...dCarry, ...sums, ...savedParams, ...walkedParams, ...dYs], rewritten, { reverse: !reverse, keepsCollectives: keepsCollectives(keep) },
  )
  const cotangents: (Node | undefined)[] = []
  carryIndex.forEach((input, i) => {
    const sum = results[i]
    cotangents[input] = sum === undefined ? undefined : converted(sum, dtypeOf(live[i] ?? sum))
  })
  dCaptures.forEach(({ i, p }, k) => {
    const sum = results[live.length + k]
    cotangents[i] = sum === undefined ? undefined : converted(sum, dtypeOf(p))
  })
  dXs.forEach(({ i }, k) => { cotangents[i] = results[live.length + dCaptures.length + k] })
  return cotangents
}
