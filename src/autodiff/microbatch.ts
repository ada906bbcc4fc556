/** Gradients of a batch in parts, one after another: the memory of one part, the numbers and the collectives of the whole. */
import { formatShape, hiddenName, nameOf, names, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { cotangentIn, sumsIn } from '../graph/half-precision.ts'
import { scan } from '../graph/scan.ts'
import { userSite } from '../core/site.ts'
import { expectDims, full, iota, leavesOf, loose, mapTree, tensor, zipTrees } from '../graph/tensor.ts'
import type { DimsIn, Scalar, Tensor, Tree } from '../graph/types.ts'

export type LossAndGrads<P extends Tree> = { readonly value: Scalar; readonly grads: P }

type Walked = { readonly walked: readonly Tensor<string>[]; readonly index: Tensor<string> }

/** @throws DimError when no leaf has the dim, or it cannot be cut into so many parts. */
function checked(batch: Tree, name: string, parts: number): Dim {
  const found = leavesOf(batch).flatMap(({ leaf }) => leaf.shape.filter(d => d.name === name))
  const [first] = found
  const problem = (what: string, fix: string): DimError => new DimError({
    code: 'microbatches', what: `accumulate: ${what}`, fix, at: userSite(), details: { batch: leavesOf(batch).map(l => `${l.path} ${formatShape(l.leaf.shape)}`).join(', ') },
  })
  if (first === undefined) throw problem(`no tensor of the batch has dim "${name}"`, `cut the batch along one of ${[...new Set(leavesOf(batch).flatMap(l => names(l.leaf.shape)))].join(', ')}`)
  const other = found.find(d => d.size !== first.size)
  if (other !== undefined) throw problem(`dim "${name}" has two sizes, ${first.size} and ${other.size}`, 'give all of them one size')
  if (!Number.isSafeInteger(parts) || parts < 1 || first.size % parts !== 0) {
    throw problem(`dim "${name}" of size ${first.size} cannot be cut into ${parts} equal parts`, `use a number of parts that divides ${first.size}`)
  }
  return first
}

/**
 * The mean over `parts` microbatches of losses and gradients that `f` gives for one, summed in f32 (of f64 in f64): where the loss is a mean over
 * `dim`, those of the whole batch. `f` sees `dim` smaller, under its own name, and the microbatch's number (i32), to draw other random
 * numbers in each. On a mesh a microbatch has examples of every device's part of the batch, so that no example moves, and
 * gradients stay partial until the loop is done: they are reduced once, after it.
 * @throws DimError when `dim` is in no tensor of the batch, or cannot be cut into `parts` equal parts
 */
export function accumulate<P extends Tree, B extends Tree>(
  f: (params: P, batch: B, index: Scalar) => LossAndGrads<P>, params: P, batch: B, dim: DimLike<DimsIn<NoInfer<B>>>, parts: number,
): LossAndGrads<P> {
  const name: string = nameOf(dim)
  const whole = checked(batch, name, parts)
  const [rows, micro]: readonly [Dim, Dim] = [{ name, size: whole.size / parts }, { name: hiddenName(name, 'micro'), size: parts }]
  // What lacks the dim is the same in every microbatch.
  const cut = leavesOf(batch).map(({ leaf }) => (names(leaf.shape).includes(name) ? loose(leaf).split(name, [rows, micro]) : undefined))
  const walked = cut.filter(x => x !== undefined)
  const widest = leavesOf(params).some(l => l.leaf.dtype === 'f64') ? 'f64' : 'f32'
  const zero = { value: loose(full(0, [], widest)), grads: mapTree(params, p => loose(full(0, p.shape, sumsIn(p.dtype)))) }
  const [sums] = scan<string, typeof zero, Walked, Tree>(micro, zero, { walked, index: iota(micro) }, (sum, x) => {
    const slices = leavesOf(x.walked)
    let next = 0
    const part = mapTree(batch, leaf => (names(leaf.shape).includes(name) ? slices[next++]?.leaf ?? leaf : leaf))
    const found: unknown = f(params, part, expectDims(x.index, []))
    leavesOf(found as Tree)
    const { value, grads } = found as LossAndGrads<P>
    return [{ value: sum.value.add(expectDims(value, []).cast(sum.value.dtype)), grads: zipTrees(sum.grads, grads, (s, g) => s.add(tensor(cotangentIn(expectDims(g, s.shape).node, s.dtype)))) }, {}]
  })
  const grads = zipTrees(params, sums.grads, (p, g) => g.mul(1 / parts).cast(p.dtype))
  return { value: expectDims(sums.value.mul(1 / parts), []), grads }
}
