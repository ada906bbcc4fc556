/**
 * Contractions with weights whose factors have 8 bits (Micikevicius et al. 2022, arXiv 2209.05433): f8e4m3fn forward and of what was forward, f8e5m2 of gradients. A tensor has one scale,
 * that of its largest number as it is now, over the whole tensor however it lies, so that the numbers are those of every mesh.
 */
import { names } from '../core/dim.ts'
import { largestOf, type EightBits } from '../core/eight-bit-floats.ts'
import { converted } from '../graph/half-precision.ts'
import { broadcastTo, constantNode, make } from '../graph/make.ts'
import { dtypeOf, operand, reachable, shapeOf, withBodies, type Node } from '../graph/node.ts'
import { leavesOf, rebuildTree, tensor } from '../graph/tensor.ts'
import type { Tree } from '../graph/types.ts'
import { isWeightProduct } from './policy.ts'
import { t, type T } from './vjps/vjp.ts'

/** Below this a largest number counts as this: its scale would be no number. */
const least = 2 ** -100

interface Scaled { readonly values: Node; readonly scale: T }

/** x as numbers of 8 bits, and what they are to be multiplied by: the largest one is the format's. Where something is no number or infinite, nothing is a number. Along `each` there is a scale for each. */
function scaled(x: Node, dtype: EightBits, each: string | undefined): Scaled {
  const most = largestOf(dtype)
  const over = names(shapeOf(x)).filter(d => d !== each)
  const amax = over.length === 0 ? t(x).abs().maximum(least) : t(make('reduce', [t(x).abs().node], { kind: 'max', over })).maximum(least)
  const by = t(broadcastTo(constantNode(most, 'f32'), amax.shape)).div(amax)
  const rounded = converted(t(x).mul(t(broadcastTo(by.node, shapeOf(x)))).node, dtype)
  return { values: make('convert', [rounded], { dtype: 'f32' }), scale: amax.mul(1 / most) }
}

function product(a: Scaled, b: Scaled, over: readonly string[], each: string | undefined, site: Node['site']): Node {
  const dot = make('dot', [a.values, b.values], { over, ...(each === undefined ? {} : { each }) }, site)
  return t(dot).mul(t(broadcastTo(a.scale.mul(b.scale).node, shapeOf(dot)))).node
}
const missing = (from: Node, of: Node): string[] => names(shapeOf(of)).filter(d => !names(shapeOf(from)).includes(d))

/** A contraction of f32 in 8 bits, forward and back. */
function contracted(a: Node, b: Node, { attrs: { over, each }, site }: Node<'dot'>): Node {
  const forward = product(scaled(a, 'f8e4m3fn', each), scaled(b, 'f8e4m3fn', each), over, each, site)
  return make('customGradient', [forward, a, b], {
    vjp: (g, _, [x = a, y = b]) => {
      const slope = scaled(g, 'f8e5m2', each)
      return [
        broadcastTo(product(slope, scaled(y, 'f8e4m3fn', each), missing(x, y), undefined, site), shapeOf(x)),
        broadcastTo(product(scaled(x, 'f8e4m3fn', each), slope, missing(y, x), undefined, site), shapeOf(y)),
      ]
    },
  }, site)
}

/** The roots again with their contractions in 8 bits, those in loops and branches too. */
function inEight(roots: readonly Node[], outside: ReadonlySet<Node>): Node[] {
  const images = new Map<Node, Node>()
  const image = (n: Node): Node => images.get(n) ?? n
  for (const n of reachable(roots, m => !outside.has(m))) {
    if (outside.has(n)) continue
    const inputs = n.inputs.map(image)
    const again = n.op === 'dot' && isWeightProduct(n) && dtypeOf(n) === 'f32' ? contracted(image(operand(n, 0)), image(operand(n, 1)), n)
      : withBodies(make, n, body => {
        const within = inEight(body.outputs, new Set())
        return within.every((m, i) => m === body.outputs[i]) ? body : { inputs: body.inputs, outputs: within }
      }, inputs.some((m, i) => m !== n.inputs[i]) ? inputs : n.inputs)
    if (again !== n) images.set(n, again)
  }
  return roots.map(image)
}

/**
 * `f`, whose contractions with weights (matrices on both sides, no dim in common but what is contracted, or a parameter on the right) multiply factors of 8 bits and add in f32: of activations and weights
 * rounded to f8e4m3fn, of gradients to f8e5m2, each tensor scaled by its largest number (per-tensor current scaling, arXiv 2209.05433). Contractions of f32 and of half precision are meant; those of f64, convolutions, and scores of
 * attention stay as they are. On cards that multiply such numbers (NVIDIA's from Ada and Hopper on) XLA makes calls of cuBLASLt of them; elsewhere the same numbers are multiplied as f32, which is no faster.
 */
export const fp8 = <const A extends readonly Tree[], R extends Tree>(f: (...args: A) => R) => (...args: A): R => {
  const given = new Set(leavesOf(args).map(l => l.leaf.node))
  const result = f(...args)
  return rebuildTree(result, inEight(leavesOf(result).map(l => l.leaf.node), given).map(n => tensor(n)))
}
