/**
 * What is computed for one stage and the whole batch, computed for all stages at once, each with a part of the batch of its own: every value gets the dim
 * of the stages, along which ops work elementwise, and the batch's dim shrinks to a part. So a block knows of neither.
 */
import { isHidden, names, type Dim } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { closeOver, isIndependent } from '../graph/close.ts'
import { sumNode } from '../graph/half-precision.ts'
import { inputNode } from '../graph/input.ts'
import { broadcastTo } from '../graph/make.ts'
import { shapeOf, reachable, typeOf, visit, operand, type Node, type TensorType } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import { rules } from './lift-rules.ts'
import type { Along, Lifting } from './lifting.ts'

/**
 * The values of `outputs`, which are made of `params`, with `given` in their place: those may have the stages' dim, first. What else the outputs use comes from `captured`.
 * @throws DimError where the outputs are made of several examples of a batch that is cut, or of a loop of unknown length that differs by stage
 */
export function lifted(params: readonly Node<'input'>[], outputs: readonly Node[], given: readonly Node[], along: Along, captured: (n: Node) => Node): Node[] {
  const { body, captures } = closeOver(params, outputs)
  const values = [...given, ...captures.map(captured)]
  return liftingOf(along, captured, new Map(body.inputs.map((p, i) => [p, values[i] ?? p]))).each(body.outputs)
}

/** Of what no input goes into, what is cheap to make again of a part of the batch: element by element. */
const pointwise: ReadonlySet<Node['op']> = new Set(['constant', 'iota', 'broadcast', 'rename', 'unary', 'binary', 'compare', 'select', 'convert', 'threefry'])

function liftingOf(along: Along, captured: (n: Node) => Node, given: ReadonlyMap<Node, Node>, outer?: { readonly found: (n: Node) => readonly Node[] | undefined; readonly names: Set<string> }, sums = false): Lifting {
  const { stage, cut } = along
  const images = new Map<Node, readonly Node[]>([...given].map(([n, image]) => [n, [image]]))
  const batch = outer?.names ?? new Set(cut === undefined ? [] : [cut.whole.name])
  const found = (n: Node): readonly Node[] | undefined => images.get(n) ?? outer?.found(n)
  const isBatch = (d: Dim): boolean => cut !== undefined && batch.has(d.name) && d.size === cut.whole.size
  const shrunk = (shape: readonly Dim[]): readonly Dim[] => (cut !== undefined && shape.some(isBatch) ? shape.map(d => (isBatch(d) ? { name: d.name, size: cut.part.size } : d)) : shape)
  const isLifted = (n: Node): boolean => shapeOf(n).some(d => d.name === stage.name)
  const spread = (n: Node): Node => (isLifted(n) ? n : broadcastTo(n, [stage, ...shapeOf(n)]))
  /** In the order of dims that the graph has. */
  const ordered = (n: Node, { shape }: TensorType): Node => broadcastTo(n, [...isLifted(n) ? [stage] : [], ...shrunk(shape)])

  // What no input goes into stays within a block though it was made outside: whatever is made along the batch there is of all of it.
  const isOutside = (n: Node): boolean => !sums && cut !== undefined && !pointwise.has(n.op) && isIndependent(n) && [n, ...n.inputs].flatMap(i => i.results).some(r => r.shape.some(isBatch))

  const c: Lifting = {
    ...along, isLifted, spread, shrunk, isBatch,
    of: n => c.each([n])[0] ?? n,
    each: roots => {
      for (const n of reachable(roots, m => found(m) === undefined)) {
        if (found(n) !== undefined) continue
        if (isOutside(n)) {
          images.set(n, n.results.length === 1 ? [captured(n)] : [])
          continue
        }
        if (n.op === 'project') {
          const image = found(operand(n, 0))?.[n.attrs.index]
          images.set(n, image === undefined ? [n] : [image])
          continue
        }
        const clash = n.results.flatMap(r => r.shape).find(d => d.name === stage.name)
        if (clash !== undefined) throw new DimError({ code: 'dim-taken', what: `pipeline: the blocks have a dim "${clash.name}" of their own`, fix: 'give the dim of the stages another name', at: n.site })
        const results = visit<Attrs, readonly Node[], [Lifting], typeof n.op>(rules, n, c)
        images.set(n, results.map((r, i) => ordered(r, n.results[i] ?? typeOf(r))))
      }
      return roots.map(n => found(n)?.[0] ?? n)
    },
    alike: n => {
      const values = c.each(n.inputs)
      return values.some(isLifted) ? values.map(spread) : values
    },
    calls: (from, to) => { if (batch.has(from)) batch.add(to) },
    apart: (n, dims, summing = false) => {
      if (summing && sums) return
      const mixed = n.inputs.flatMap(i => shapeOf(i)).find(d => dims.includes(d.name) && isBatch(d))
      if (mixed === undefined || cut === undefined) return
      throw new DimError({
        code: 'mixes-examples', what: `pipeline: the blocks work along "${mixed.name}", of which they see one of ${cut.parts} microbatches at a time`, at: n.site,
        details: { op: n.op, tensor: n.inputs.map(i => names(shapeOf(i)).filter(name => !isHidden(name)).join(' ')).join('; ') }, fix: `let blocks treat each element of "${mixed.name}" by itself, or use one microbatch`,
      })
    },
    within: (more, summing = sums) => liftingOf(along, captured, more, { found, names: batch }, summing),
    params: (inputs, which) => inputs.map((p, i) => inputNode(p.attrs.name, p.attrs.role, { shape: [...which(i) ? [stage] : [], ...shrunk(shapeOf(p))], dtype: typeOf(p).dtype })),
    like: (n, other) => (isLifted(other) ? spread(n) : isLifted(n) ? sumNode(n, [stage.name]) : n),
  }
  return c
}
