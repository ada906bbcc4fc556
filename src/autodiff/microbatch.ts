/** Gradients of a batch in parts, one after another: the memory of one part, the numbers and the collectives of the whole. */
import { formatShape, hiddenName, nameOf, names, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { cotangentIn, sumsIn } from '../graph/half-precision.ts'
import { make } from '../graph/make.ts'
import { scan } from '../graph/scan.ts'
import { userSite } from '../core/site.ts'
import { overWeight, type Weighted } from '../graph/outcome.ts'
import { expectDims, full, iota, leavesOf, loose, mapTree, tensor, zipTrees } from '../graph/tensor.ts'
import type { AnyTensor, DimsIn, Scalar, Tensor, Tree } from '../graph/types.ts'
import type { LossAndGrads } from './outcome.ts'

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

/** What a turn stacks: weights, and metrics times their weights. */
type Stacked = { readonly weight: readonly Tensor<string>[]; readonly updates: { readonly [path: string]: Tensor<string> }; readonly metrics: { readonly [name: string]: { readonly sum: Tensor<string>; readonly weight: Tensor<string> } } }

/**
 * The mean over `parts` microbatches of losses and gradients that `f` gives for one, summed in f32 (of f64 in f64). Where `f` gives a weight,
 * as `lossAndGrads` does, each counts by it: Σ wᵢ lᵢ / Σ wᵢ, which is the mean over all that counts in the batch, however unevenly that
 * lies in the microbatches; 0 where nothing counts. Without weights, the mean over `parts`: right for means over `dim`. Metrics are joined by
 * their own weights. `f` sees `dim` smaller, under its own name, and the microbatch's number (i32), to draw other random
 * numbers in each. On a mesh a microbatch has examples of every device's part of the batch, so that no example moves. The sums of gradients lie as the
 * layout `gradients` has it, each microbatch's reduce-scattered to where that splits them; what it leaves whole stays partial until the loop is done, and is reduced once, after it.
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
  const [sums, stacked] = scan<string, typeof zero, Walked, Stacked>(micro, zero, { walked, index: iota(micro) }, (sum, x) => {
    const slices = leavesOf(x.walked)
    let next = 0
    const part = mapTree(batch, leaf => (names(leaf.shape).includes(name) ? slices[next++]?.leaf ?? leaf : leaf))
    const found: unknown = f(params, part, expectDims(x.index, []))
    leavesOf(found as Tree)
    const { value, grads, weight, metrics = {}, updates = {} } = found as LossAndGrads<P>
    const times = (y: Tensor<string>, by = weight): Tensor<string> => (by === undefined ? y : y.mul(loose(by).cast(y.dtype)))
    return [{
      value: sum.value.add(times(loose(expectDims(value, [])).cast(sum.value.dtype))),
      grads: zipTrees(sum.grads, grads, (s, g) => s.add(times(tensor(make('relayout', [cotangentIn(expectDims(g, s.shape).node, s.dtype)], { to: 'gradients', keepsSums: true }))))),
    }, {
      weight: weight === undefined ? [] : [loose(weight)], updates: mapTree(updates, u => loose(u)) as Stacked['updates'],
      metrics: Object.fromEntries(Object.entries(metrics).map(([key, m]) => [key, { sum: times(loose(m.value).cast(widest), m.weight), weight: loose(m.weight) }])),
    }]
  })
  const overAll = (x: AnyTensor): Scalar => expectDims(loose(x).sum(micro.name), [])
  const [weight] = stacked.weight.map(overAll)
  const mean = (sum: Scalar): Scalar => (weight === undefined ? sum.mul(1 / parts) : overWeight(sum, weight))
  // Gradients are many numbers: they are multiplied by one.
  const share = weight === undefined ? 1 / parts : overWeight(full(1, [], widest), weight)
  const grads = zipTrees(params, sums.grads, (p, g) => g.mul(typeof share === 'number' ? share : share.cast(g.dtype)).cast(p.dtype))
  const metrics = Object.fromEntries(Object.entries(stacked.metrics).map(([key, m]): [string, Weighted] => {
    const total = overAll(m.weight)
    return [key, { value: overWeight(overAll(m.sum), total), weight: total }]
  }))
  // Each microbatch went on from the same values.
  const updates = Object.fromEntries(Object.entries(stacked.updates).map(([path, u]) => [path, loose(u).mean(micro.name)]))
  return { value: mean(expectDims(sums.value, [])), grads, ...(Object.keys(updates).length === 0 ? {} : { updates }), ...(weight === undefined ? {} : { weight }), ...(Object.keys(metrics).length === 0 ? {} : { metrics }) }
}
