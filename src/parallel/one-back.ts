/**
 * One forward, one backward: each microbatch goes back as soon as its loss is known (PipeDream-Flush, Narayanan et al. 2021), so that only as many are on their way as the stages need. A loop in
 * which a tick takes one microbatch a stage forward and another one back; before it the ticks in which none comes back yet, and after it those in which none enters any more.
 */
import { hiddenName, type Dim } from '../core/dim.ts'
import { isFloat, type DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { keeper, type Remat } from '../autodiff/policy.ts'
import { pullback } from '../autodiff/pullback.ts'
import { residuals } from '../autodiff/residuals.ts'
import { closeOver } from '../graph/close.ts'
import { whereAlone } from '../graph/cond.ts'
import { converted, cotangentIn, sumsIn } from '../graph/half-precision.ts'
import { dynamicUpdate } from '../graph/indexing.ts'
import { inputNode } from '../graph/input.ts'
import { broadcastTo, madeBy, make, rewrite } from '../graph/make.ts'
import { dtypeOf, reachable, shapeOf, type Node } from '../graph/node.ts'
import { overWeight, settled, type Outcome } from '../graph/outcome.ts'
import { scan } from '../graph/scan.ts'
import { shift } from '../graph/rearrange.ts'
import { iota, leavesOf, loose, mapTree, rebuildTree, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree, Without } from '../graph/types.ts'
import { lifted } from './lift.ts'
import { along, choose, cutBatch, entering as enteringOf, fedAt, firsts, isWhole, handedOn, leaving, nothing, pipeline, resampled, single, stagesAt, walked, worksOf, zerosLaid, type PipelineOptions, type Works } from './pipeline.ts'
import { zeros } from './stages.ts'

type T = Tensor<string>
const t = (n: Node): T => tensor(n)
const stand = (name: string, like: { readonly shape: readonly Dim[]; readonly dtype: T['dtype'] }): Node<'input'> => inputNode(name, 'compute', { shape: like.shape, dtype: like.dtype })
const floats = (nodes: readonly Node[]): Node[] => nodes.filter(n => isFloat(dtypeOf(n)))
const applied = (outputs: readonly Node[], values: ReadonlyMap<Node, Node>): Node[] => rewrite(outputs, reachable(outputs), new Map(values))
const sumOf = (n: Node): T => zeros(shapeOf(n), sumsIn(dtypeOf(n)))
const isWeight = (n: Node): boolean => n.op === 'input' && n.attrs.role === 'params'
/** A microbatch's gradient added to the sum of all; that of a weight where sums of gradients lie, as `accumulate` has it, but for what would lie where its stages do. */
const added = (sum: T, more: Node, of: Node, stage?: string): T => {
  const wide = cotangentIn(more, sum.dtype)
  return sum.add(t(isWeight(of) ? make('relayout', [wide], { to: 'gradients', keepsSums: true, ...(stage === undefined ? {} : { first: stage }) }) : wide))
}

type Found = readonly (Node | undefined)[]

export interface LossOptions extends PipelineOptions {
  /** What is computed again on the way back, of the schedule 1f1b; `all-but-contractions` unless said. With `everything` only what enters a stage is kept. Other schedules have that of the gradient. */
  readonly remat?: Remat | undefined
  /**
   * Who computes the loss of what comes out: the `last` stage, unless said, while the others go on or wait; `all` of them where a layout lays a dim of it on their axis, as `vocab: ['model', 'stage']`, each its part, or where it is said
   * that they do. What comes out of the last stage is then sent to all.
   */
  readonly head?: 'last' | 'all' | undefined
}

/** A stage forward and back, as graphs over stand-ins, and what is kept between the two. */
interface Stage {
  readonly forward: (x: readonly T[], turn: T) => { readonly made: readonly T[]; readonly kept: readonly T[] }
  /** Cotangents of x's leaves, of the layers and of what blocks use from outside, undefined where none flows. */
  readonly back: (cotangents: readonly T[], kept: readonly T[], turn: T) => { readonly x: readonly (Node | undefined)[]; readonly layers: readonly (Node | undefined)[]; readonly outside: readonly (Node | undefined)[] }
}

function stageOf(works: Works, outside: readonly Node[], remat: Remat): Stage {
  const { layers, traced: { params } } = works
  const leaves = params.slice(0, params.length - layers.length - works.real.length - 1)
  const x = leaves.map(p => stand('x', nothing(t(p), works)))
  const ws = layers.map(w => stand('layers', w))
  const cs = outside.map(c => stand('outside', t(c)))
  const turn = stand('turn', { shape: [works.stages.stage], dtype: 'i32' })
  const standing = new Map(outside.map((c, i) => [c, cs[i] ?? c]))
  const made = stagesAt(works, x.map(t), t(turn), ws.map(t), c => standing.get(c) ?? c).made.map(y => y.node)
  // Cotangents of halves are f32 between stages, as they are between layers.
  const given = made.map(y => stand('cotangent', { shape: shapeOf(y), dtype: sumsIn(dtypeOf(y)) }))
  const wrt = [...x, ...ws, ...cs]
  const keep = keeper(remat, made)
  // A ring is written and read on each turn, by computed places: the host would be in the way of all of them.
  if (keep.offloads !== undefined) throw new DimError({ code: 'option', what: 'remat: the schedule 1f1b keeps what is to come back in a ring on the device, and offloads nothing', fix: 'give { keep: [names] }, or another schedule', at: userSite() })
  const found = pullback(made, made.map((y, i) => { const g = given[i]; return g === undefined || !isFloat(dtypeOf(y)) ? undefined : converted(g, dtypeOf(y)) }), wrt, keep)
  const flowing = found.filter(d => d !== undefined)
  const { body: { inputs, outputs }, captures } = closeOver([...wrt, turn, ...given], [...made, ...flowing])
  const forward = outputs.slice(0, made.length)
  const backward = outputs.slice(made.length)
  const lifts = (n: Node): boolean => shapeOf(n).some(d => d.name === works.stages.stage.name)
  const saved = residuals(backward, { inputs: inputs.filter(p => !given.includes(p)), outputs: forward }, 0, n => lifts(n) && keep(n))
  const savedAs = saved.map(s => stand('saved', t(s)))
  const pulled = applied(backward, new Map(saved.map((s, i) => [s, savedAs[i] ?? s])))
  const needed = new Set(reachable(pulled))
  const entered = x.filter(p => needed.has(p))
  const outer = new Map<Node, Node>([...ws.map((p, i) => [p, layers[i]?.node ?? p] as const), ...cs.map((p, i) => [p, outside[i] ?? p] as const), ...inputs.slice(wrt.length + 1 + given.length).map((p, i) => [p, captures[i] ?? p] as const)])
  return {
    forward: (values, at) => {
      const all = applied([...forward, ...entered, ...saved], new Map([...outer, [turn, at.node], ...x.map((p, i) => [p, values[i]?.node ?? p] as const)])).map(t)
      return { made: all.slice(0, made.length), kept: all.slice(made.length) }
    },
    back: (cotangents, kept, at) => {
      const stands: readonly Node[] = [...entered, ...savedAs]
      const all = applied(pulled, new Map([...outer, [turn, at.node], ...stands.map((p, i) => [p, kept[i]?.node ?? p] as const), ...given.map((p, i) => [p, cotangents[i]?.node ?? p] as const)]))
      let next = 0
      const each = found.map(d => (d === undefined ? undefined : all[next++]))
      return { x: each.slice(0, x.length), layers: each.slice(x.length, x.length + ws.length), outside: each.slice(x.length + ws.length) }
    },
  }
}

/** The loss of a microbatch, as the last stage computes it: sums of losses and of metrics by their weights, and the cotangents of that sum. */
interface Ended { readonly sums: readonly T[]; readonly updates: readonly T[]; readonly x: readonly (Node | undefined)[]; readonly outside: readonly (Node | undefined)[] }
interface Last { /** The sum of the microbatches' weights, if it is known before. Cotangents are those of the mean then, else of the sum by weights. */ readonly total: Scalar | undefined; readonly outside: readonly Node[]; readonly names: readonly string[]; /** New values of parameters, by their paths, as they are summed. */ readonly updates: readonly { readonly path: string; readonly like: AnyTensor }[]; readonly dtypes: readonly DType[]; readonly at: (made: readonly T[], given: readonly T[], outside: readonly T[]) => Ended }

/** The sum of a weight over the microbatches, which may be another than the whole batch's: that of a loss which says none is 1 of each. Undefined where it is made of what comes out of the blocks. */
function totalOf(works: Works, weight: Node | undefined, ys: readonly Node[], gs: readonly Node<'input'>[], given: readonly AnyTensor[]): Scalar | undefined {
  const { micro, whole, plan: { microbatches } } = works
  if (weight === undefined || reachable([weight]).some(n => ys.includes(n))) return undefined
  const cuts = given.map(leaf => { const cut = leaf.shape.some(d => d.name === whole.name) ? cutBatch(leaf, works) : undefined; return cut === undefined ? leaf.node : broadcastTo(cut.node, [micro, ...cut.shape.filter(d => d.name !== micro.name)]) })
  const [found] = lifted(gs, [weight], cuts, { stage: micro }, n => n)
  const all = t(found ?? weight)
  return (all.shape.length === 0 ? all.mul(microbatches) : loose(all.sum(micro.name))) as AnyScalar
}

/** The last stage computes it alone, or all do together of what came out of it: where they are told to, and where it lies along the stages' axis. */
function lastOf<X extends Tree, B extends Tree>(works: Works, x: X, given: B, loss: (x: X, given: B) => Outcome, remat: Remat, head: 'last' | 'all'): Last {
  const { whole, part, stages: { stage } } = works
  const small = (like: { readonly shape: readonly Dim[]; readonly dtype: T['dtype'] }, name: string): Node<'input'> => stand(name, { shape: like.shape.map(d => (d.name === whole.name ? part : d)), dtype: like.dtype })
  const ys = leavesOf(x).map(l => small(l.leaf, `y.${l.path}`))
  const gs = leavesOf(given).map(l => small(l.leaf, l.path))
  const { loss: found, metrics, updates = {} } = settled(loss(rebuildTree(x, ys.map(t)), rebuildTree(given, gs.map(t))))
  const names = Object.keys(metrics)
  const means = [found, ...Object.values(metrics)]
  const kept = Object.entries(updates).map(([path, u]) => ({ path, like: loose(u).cast(isFloat(u.dtype) ? sumsIn(u.dtype) : 'f32') }))
  const scalars = means.flatMap(m => [loose(m.value).cast(sumsIn(m.value.dtype)), loose(m.weight)].map(y => y.node))
  const outputs = [...scalars, ...kept.map(u => u.like.node)]
  const outside = floats(closeOver([...ys, ...gs], outputs).captures)
  const keep = keeper(remat, outputs)
  // What counts in all microbatches, where that does not follow from what comes out of the blocks: then cotangents have the size that they have without a pipeline, and halves are rounded alike.
  const total = totalOf(works, scalars[1], ys, gs, leavesOf(given).map(l => l.leaf))
  const here = works.stage.equal(stage.size - 1)
  /** Cotangents of a microbatch's loss, as one of the mean where the sum of weights is known. */
  const seed = (value: T, weight: T): T => loose(total === undefined ? weight : overWeight(weight as AnyScalar, total)).cast(value.dtype)
  // Not multiplied where nothing counts: a mean of nothing may be any number there.
  const weighed = (v: T, w: T): T => choose(w.equal(0).not(), v.mul(w.cast(v.dtype)), zeros(v.shape, v.dtype))
  return {
    outside, names, total, updates: kept, dtypes: scalars.map(dtypeOf),
    at: (made, given, values) => {
      const wrt = [...made.map(y => stand('made', y)), ...outside.map(c => stand('outside', t(c)))]
      let slopes: readonly (Node | undefined)[] = []
      const work = (): readonly T[] => {
        const y = wrt.slice(0, made.length).map(m => leaving(t(m), works).node)
        const each = applied(outputs, new Map<Node, Node>([...ys.map((n, i) => [n, y[i] ?? n] as const), ...outside.map((n, i) => [n, wrt[made.length + i] ?? n] as const), ...gs.map((g, i) => [g, given[i]?.node ?? g] as const)]))
        const [value, weight] = each
        slopes = value === undefined || weight === undefined ? [] : pullback([value], [seed(t(value), t(weight)).node], wrt, keep)
        const flowing = slopes.filter(d => d !== undefined)
        const all = applied([...each, ...flowing], new Map(wrt.map((p, i) => [p, (i < made.length ? made[i] : values[i - made.length])?.node ?? p]))).map(t)
        const sums = means.flatMap((_, i) => { const [v, w] = [all[2 * i], all[2 * i + 1]]; return v === undefined || w === undefined ? [] : [weighed(v, w), w] })
        // Cotangents of halves leave as they were before they were narrowed.
        return [...sums, ...all.slice(scalars.length).map((n, i) => (i < kept.length ? n : t(cotangentIn(n.node, sumsIn(n.dtype)))))]
      }
      const all = head === 'all' ? work() : whereAlone(here, work as () => Tree) as readonly T[]
      let next = outputs.length
      const cotangents = slopes.map(d => (d === undefined ? undefined : all[next++]?.node))
      return { sums: all.slice(0, scalars.length), updates: all.slice(scalars.length, outputs.length), x: cotangents.slice(0, made.length), outside: cotangents.slice(made.length) }
    },
  }
}

/** What enters the first stage, where that is computed of one microbatch at a time: the values, and what the cotangents of one's are to what it is computed with. */
interface First {
  readonly outside: readonly Node[]
  readonly at: (microbatch: T) => readonly T[]
  readonly back: (microbatch: T, slopes: readonly T[]) => readonly (Node | undefined)[]
}
function firstOf(works: Works, leaves: readonly Node[], made: ReadonlySet<Node>): First {
  const { whole, part, micro, plan: { microbatches } } = works
  // As a pipeline's stage of its own, of which there is one.
  const one: Dim = { name: hiddenName(whole.name, 'entering'), size: 1 }
  const { body: { inputs, outputs }, captures } = closeOver([], leaves, made)
  const outside = floats(captures)
  const at = (microbatch: T, standing: ReadonlyMap<Node, Node>): Node[] => {
    const here = along(microbatch.clamp(0, microbatches - 1), one)
    const cut = microbatches === 1 ? undefined : { whole, part, parts: microbatches, at: here.node }
    const captured = (n: Node): Node => { const from = t(standing.get(n) ?? n); return cut !== undefined && isWhole(n, whole) ? cutBatch(from, works).take(micro.name, here).node : from.node }
    return lifted(inputs, outputs, captures.map(captured), { stage: one, cut }, n => n).map(n => (shapeOf(n).some(d => d.name === one.name) ? single(t(n), one.name).node : n))
  }
  return {
    outside,
    at: microbatch => at(microbatch, new Map()).map(t),
    back: (microbatch, slopes) => {
      const wrt = outside.map(c => stand('outside', t(c)))
      const made = at(microbatch, new Map(outside.map((c, i) => [c, wrt[i] ?? c])))
      const found = pullback(made, made.map((y, i) => { const g = slopes[i]; return g === undefined || !isFloat(dtypeOf(y)) ? undefined : converted(g.node, dtypeOf(y)) }), wrt, () => true)
      const flowing = found.filter(d => d !== undefined)
      const all = applied(flowing, new Map(wrt.map((p, i) => [p, outside[i] ?? p])))
      let next = 0
      return found.map(d => (d === undefined ? undefined : all[next++]))
    },
  }
}

/** What is on its way, of each stage one after another: a ring of as many places as there are ticks between a microbatch's way forward and its way back in the first stage. */
interface Ring { readonly dim: Dim; readonly write: (ring: T, value: T, tick: T) => T; readonly read: (ring: T, ticks: T) => T }
function ringOf({ whole, stages: { stage } }: Works): Ring {
  const dim: Dim = { name: hiddenName(whole.name, 'ring'), size: 2 * stage.size - 1 }
  return {
    dim,
    write: (ring, value, tick) => dynamicUpdate<string, string>(ring, dim.name, tick.rem(dim.size) as AnyScalar, t(make('mergeDims', [value.node], { from: [], into: { ...dim, size: 1 } }))),
    read: (ring, ticks) => {
      const found = ring.take(dim.name, ticks.rem(dim.size))
      return t(make('broadcast', [found.node], { shape: ring.shape.filter(d => d.name !== dim.name) }))
    },
  }
}
type AnyScalar = Scalar & T

/** A cotangent of nothing on each stage. */
const noSlope = (like: AnyTensor, works: Works): T => { const none = nothing(like, works); return none.cast(sumsIn(none.dtype)) }

/** Slices of what is walked over, of a dim's own. */
const slices = (x: T, from: Dim, to: Dim, start: number): T => resampled(x, from.name, to, start)

/**
 * The loss of a pipeline: `loss(x, given)` of what comes out of the blocks (see `pipeline`, which says what these are given) and of what belongs to it in a batch, such as targets. The last stage computes it. Of the schedules `gpipe` and
 * `circular` it is that of the whole batch, after the pipeline. Of `1f1b` it is that of each microbatch, which has the batch's dim smaller, and the microbatch goes back at once: 2p − 1
 * microbatches are on their way in a stage at most, whatever their number. The mean over all is by weights, as `accumulate` has it.
 * x, stacked and block as `pipeline` has them. Where x is a function, `1f1b` computes what it gives of each microbatch as it enters the first stage, and once more for its gradient as that comes back: so neither is
 * held of the whole batch. What the function uses has the batch's dim, or is the same for all. given: tensors of which those with the batch's dim are cut.
 * @throws UsageError, DimError as `pipeline`; DimError where the loss is no scalar
 */
export function pipelineLoss<N extends string, X extends Tree, W extends Tree, B extends Tree>(
  over: Dim<N>, entering: X | (() => X), stacked: W, block: (x: X, layer: Without<W, N>) => X, given: B, loss: (x: X, given: B) => Outcome, { remat = 'all-but-contractions', head = 'last', ...options }: LossOptions,
): Outcome {
  const { result: x, nodes } = madeBy((): X => (typeof entering === 'function' ? entering() : entering))
  if (options.schedule !== '1f1b') {
    if (head === 'all') return loss(pipeline(over, x, stacked, block, options), given)
    const { result, works } = walked(over, x, stacked, block, options, typeof entering === 'function' ? { entering } : {})
    const here = works.stage.equal(works.stages.stage.size - 1)
    return whereAlone(here, () => {
      const { loss: { value, weight }, metrics, updates } = settled(loss(mapTree(result, y => leaving(loose(y), works)), given))
      return { loss: value, weight, metrics, ...(updates === undefined ? {} : { updates }) } as unknown as Tree
    }) as unknown as Outcome
  }
  const works = worksOf(over, x, stacked, block as (x: X, layer: Tree) => X, options)
  const { plan: { stages: p, microbatches, forwardTicks }, stages: { stage }, stage: place, ticks, micro, whole, part } = works
  const inBlocks = floats(closeOver(works.traced.params, works.traced.outputs).captures)
  const last = lastOf(works, x, given, loss, remat, head)
  const first = typeof entering === 'function' ? firstOf(works, leavesOf(x).map(l => l.leaf.node), nodes) : undefined
  // What a tied embedding is where microbatches enter has a sum of its own: it is partial over other axes than what stages and the loss give, and each is reduced once, after the loops.
  const [inStages, entered] = [[...new Set([...inBlocks, ...last.outside])], first?.outside ?? []]
  const outside = [...inStages, ...entered]
  const stageWork = stageOf(works, inBlocks, remat)
  const ring = ringOf(works)
  const leaves = leavesOf(x).map(l => l.leaf)
  const [before, through, after]: readonly Dim[] = ['before', 'through', 'after'].map((name, i) => ({ name: hiddenName(whole.name, name), size: i === 1 ? microbatches : p - 1 }))
  if (before === undefined || through === undefined || after === undefined) throw new Error('three parts')

  const fed = first === undefined ? leaves.map(l => fedAt(l, works)) : []
  const forward = (given: readonly T[], arrived: readonly T[], rings: readonly T[], tick: T): { readonly made: readonly T[]; readonly arrived: readonly T[]; readonly rings: readonly T[] } => {
    const now = first === undefined ? given : whereAlone(place.equal(0), () => first.at(tick).map(x => firsts(x, works)) as Tree) as readonly T[]
    const { made, kept } = stageWork.forward(arrived.map((a, i) => enteringOf(stage, now[i] ?? a, a, place.equal(0))), along(tick, stage).sub(place))
    return { made, arrived: made.map(y => handedOn(y, works)), rings: kept.map((k, i) => ring.write(rings[i] ?? k, k, tick)) }
  }
  /** A stage is as many ticks later back as a microbatch takes from it to the end and back to it. */
  const back = (slopes: readonly T[], rings: readonly T[], tick: T) => {
    const away = place.neg().add(p - 1).mul(2)
    const turn = along(tick, stage).sub(place).sub(away)
    // Before the first microbatch what is read is nobody's, and not used.
    const found = stageWork.back(slopes, rings.map(r => ring.read(r, along(tick, stage).sub(away).maximum(0))), turn)
    const slope = (l: AnyTensor, i: number): T => { const [none, d] = [noSlope(l, works), found.x[i]]; return d === undefined ? none : t(cotangentIn(d, none.dtype)) }
    const fed = (): readonly T[] => leaves.map((l, i) => single(choose(place.equal(0), slope(l, i), 0), stage.name))
    // At the first stage as many ticks have passed since it entered.
    const begun = first === undefined ? [] : begunAt(first, tick.sub(2 * (p - 1)), fed)
    return { ...found, begun, arrived: leaves.map((l, i) => shift<string, string>(slope(l, i), stage.name, -1)), fed: first === undefined ? fed() : [] }
  }
  /** Cotangents of what the first stage alone has computed what enters it of. */
  const begunAt = (first: First, microbatch: T, fed: () => readonly T[]): Found => {
    let found: Found = []
    const made = whereAlone(place.equal(0), () => {
      found = first.back(microbatch, fed())
      return found.flatMap(d => (d === undefined ? [] : [t(cotangentIn(d, sumsIn(dtypeOf(d))))])) as Tree
    }) as readonly T[]
    let next = 0
    return found.map(d => (d === undefined ? undefined : made[next++]?.node))
  }
  type Sums = { readonly layers: readonly T[]; readonly outside: readonly T[] }
  const stackedLeaves = leavesOf(stacked).map(l => l.leaf.node)
  const start: Sums = { layers: works.layers.map(w => sumOf(w.node)), outside: outside.map(sumOf) }
  const plus = (sums: Sums, found: { readonly layers: readonly (Node | undefined)[]; readonly outside: readonly (readonly (Node | undefined)[])[] }): Sums => ({
    layers: sums.layers.map((s, i) => { const d = found.layers[i]; return d === undefined ? s : added(s, d, stackedLeaves[i] ?? d, stage.name) }),
    outside: sums.outside.map((s, i) => (found.outside[i] ?? []).reduce((sum, d) => (d === undefined ? sum : added(sum, d, outside[i] ?? d)), s)),
  })
  const byUse = (blocks: Found, ended: Found, begun: Found): readonly Found[] =>
    [...inStages.map(c => [blocks[inBlocks.indexOf(c)], ended[last.outside.indexOf(c)]]), ...entered.map((_, i) => [begun[i]])]

  // What there is to keep is known once a stage has been traced.
  const kinds = stageWork.forward(leaves.map(l => nothing(l, works)), place).kept
  let arrived: readonly T[] = leaves.map(l => nothing(l, works))
  let rings: readonly T[] = kinds.map(k => zerosLaid(k, [ring.dim, ...k.shape]))
  if (p > 1) {
    const [state] = scan(before, { arrived, rings } as Tree, { fed: fed.map(f => slices(f, ticks, before, 0)), tick: iota(before) } as Tree, (carry, now) => {
      const { arrived, rings } = carry as unknown as { readonly arrived: readonly T[]; readonly rings: readonly T[] }
      const { fed, tick } = now as unknown as { readonly fed: readonly T[]; readonly tick: T }
      const next = forward(fed, arrived, rings, tick)
      return [{ arrived: next.arrived, rings: next.rings } as Tree, {}] as const
    })
    ;({ arrived, rings } = state as unknown as { readonly arrived: readonly T[]; readonly rings: readonly T[] })
  }

  type State = { readonly arrived: readonly T[]; readonly rings: readonly T[]; readonly slopes: readonly T[]; readonly sums: Sums; readonly means: readonly T[]; readonly updates: readonly T[] }
  const cuts = leavesOf(given).map(({ leaf }) => (leaf.shape.some(d => d.name === whole.name) ? slices(cutBatch(leaf, works), micro, through, 0) : undefined))
  const slopes = leaves.map(l => noSlope(l, works))
  const means = last.dtypes.map(dtype => zeros([], sumsIn(dtype)))
  const updates = last.updates.map(({ like }) => zeros(like.shape, like.dtype))
  const [middle, fedBack] = scan(through, { arrived, rings, slopes, sums: start, means, updates } as unknown as Tree, {
    fed: fed.map(f => slices(f, ticks, through, p - 1)), given: cuts.filter(c => c !== undefined), tick: iota(through),
  } as Tree, (carry, now) => {
    const state = carry as unknown as State
    const { fed, given: parts, tick: i } = now as unknown as { readonly fed: readonly T[]; readonly given: readonly T[]; readonly tick: T }
    const tick = i.add(p - 1)
    const next = forward(fed, state.arrived, state.rings, tick)
    let cut = 0
    const own = leavesOf(given).map(({ leaf }, k) => (cuts[k] === undefined ? loose(leaf) : parts[cut++] ?? loose(leaf)))
    const ended = last.at(next.made, own, last.outside.map(t))
    const given_ = state.slopes.map((g, k) => { const d = ended.x[k]; return choose(place.equal(p - 1), d === undefined ? zeros(g.shape, g.dtype) : t(cotangentIn(d, g.dtype)), g) })
    const found = back(given_, next.rings, tick)
    const sums = plus(state.sums, { layers: found.layers, outside: byUse(found.outside, ended.outside, found.begun) })
    return [{ arrived: next.arrived, rings: next.rings, slopes: found.arrived, sums, means: state.means.map((m, k) => m.add((ended.sums[k] ?? m).cast(m.dtype))), updates: state.updates.map((u, k) => u.add(ended.updates[k] ?? u)) } as unknown as Tree, found.fed as Tree] as const
  })
  const state = middle as unknown as State
  let ends: { readonly sums: Sums; readonly fed: readonly T[] } | undefined
  if (p > 1) {
    const [end, more] = scan(after, { slopes: state.slopes, sums: start } as unknown as Tree, { tick: iota(after) } as Tree, (carry, now) => {
      const { slopes, sums } = carry as unknown as Pick<State, 'slopes' | 'sums'>
      const { tick } = now as unknown as { readonly tick: T }
      const found = back(slopes, state.rings, tick.add(forwardTicks))
      return [{ slopes: found.arrived, sums: plus(sums, { layers: found.layers, outside: byUse(found.outside, [], found.begun) }) } as unknown as Tree, found.fed as Tree] as const
    })
    ends = { sums: (end as unknown as Pick<State, 'sums'>).sums, fed: more as unknown as readonly T[] }
  }

  // Both loops' sums are added before they are reduced between devices.
  const total = (a: T, b: T | undefined): T => (b === undefined ? a : a.add(b))
  const layerSums = state.sums.layers.map((s, i) => total(s, ends?.sums.layers[i]))
  const outsideSums = state.sums.outside.map((s, i) => total(s, ends?.sums.outside[i]))
  const fedSums = (fedBack as unknown as readonly T[]).map((f, i) => {
    const more = ends?.fed[i]
    const all = total(slices(f, through, micro, p - 1), more === undefined ? undefined : slices(more, after, micro, -(microbatches - (p - 1))))
    return all.merge([part.name, micro.name], whole)
  })
  const [sum, weight] = state.means
  if (sum === undefined || weight === undefined) throw new Error('there is a loss')
  const mean = overWeight(sum as AnyScalar, weight as AnyScalar)
  const differentiable = [...first === undefined ? leaves.map(l => l.node) : [], ...stackedLeaves, ...outside]
  const sums = [...fedSums, ...layerSums, ...outsideSums]
  const stackedFrom = first === undefined ? leaves.length : 0
  const value = make('customGradient', [mean.node, weight.node, ...differentiable, ...sums.map(s => s.node)], {
    vjp: (g, _, [by, ...rest]) => {
      const [inputs, slopes] = [rest.slice(0, differentiable.length), rest.slice(differentiable.length)]
      const share = loose(last.total === undefined ? overWeight(t(g) as AnyScalar, t(by ?? g) as AnyScalar) : t(g))
      return [undefined, ...inputs.map((n, i) => {
        const slope = slopes[i]
        if (slope === undefined || !isFloat(dtypeOf(n))) return undefined
        const scaled = t(slope).mul(share.cast(dtypeOf(slope))).node
        const placedAt = works.layers[i - stackedFrom]
        if (i < stackedFrom || placedAt === undefined || i >= stackedFrom + works.layers.length) return converted(broadcastTo(scaled, shapeOf(n)), dtypeOf(n))
        // From places of stages back to layers: the gradient of placing them.
        return placedBack(placedAt.node, differentiable[i] ?? n, cotangentIn(scaled, dtypeOf(n)))
      }), ...slopes.map(() => undefined)]
    },
  })
  const metrics = Object.fromEntries(last.names.map((name, i) => {
    const [s, w] = [state.means[2 * i + 2], state.means[2 * i + 3]] as const
    return [name, { value: overWeight((s ?? sum) as AnyScalar, (w ?? weight) as AnyScalar), weight: (w ?? weight) as AnyScalar }]
  }))
  // Of microbatches their mean, as `accumulate` has it.
  const moved = Object.fromEntries(last.updates.map(({ path }, i) => [path, (state.updates[i] ?? sum).mul(1 / microbatches)]))
  return { ...(last.updates.length === 0 ? {} : { updates: moved }), loss: t(value) as AnyScalar, weight: weight as AnyScalar, ...(last.names.length === 0 ? {} : { metrics }) }
}

const placedBack = (placedAt: Node, leaf: Node, g: Node): Node => pullback([placedAt], [g], [leaf], () => true)[0] ?? g
