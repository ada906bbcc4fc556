/** Stacked layers as the stages of a pipeline have them, and what a stage computes: its layers, one after another. */
import { formatShape, hiddenName, type Dim } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError, UsageError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { inputNode } from '../graph/input.ts'
import { dtypeOf, shapeOf, type Node } from '../graph/node.ts'
import { index, pad, slice, stack } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { alike, difference } from '../graph/state.ts'
import { broadcast, iota, leavesOf, loose, mapTree, rebuildTree, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { numbersAlong } from '../nn/numbers.ts'
import type { Pipelined, Plan } from './schedule.ts'

type T = Tensor<string>

/** The dims of layers in a pipeline. */
export interface Stages {
  readonly stage: Dim
  /** Rounds of a circular schedule. */
  readonly rounds: Dim | undefined
  /** The layers of one stage in one round. */
  readonly own: Dim
  /** How many of these there are, of each piece: round by round, in a round stage by stage. Undefined where all have as many. */
  readonly counts: readonly number[] | undefined
}

/** @throws UsageError where there are fewer layers than stages, or other numbers of them are said */
export function stagesOf(over: Dim, { stages }: Pipelined, { stages: p, rounds }: Plan): Stages {
  const pieces = p * rounds
  const said = typeof stages === 'number' ? undefined : stages
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'pipeline-layers', what: `pipeline: ${what}`, fix, at: userSite() })
  if (over.size < pieces) throw wrong(`${over.size} layers cannot be ${pieces} stages${rounds === 1 ? '' : ` (${p} in each of ${rounds} rounds)`}`, `use at most ${over.size} stages, or more layers`)
  const total = said?.reduce((a, b) => a + b, 0) ?? 0
  if (said !== undefined && total * rounds !== over.size) throw wrong(`the stages [${said.join(', ')}] have ${total} layers${rounds === 1 ? '' : ` in each of ${rounds} rounds`}, and there are ${over.size}`, 'let the numbers of layers add up')
  // The first pieces have a layer more where they do not divide.
  const counts = Array.from({ length: pieces }, (_, i) => said?.[i % p] ?? Math.floor(over.size / pieces) + (i < over.size % pieces ? 1 : 0))
  const most = Math.max(...counts)
  return {
    stage: { name: 'stage', size: p }, rounds: rounds === 1 ? undefined : { name: hiddenName(over.name, 'round'), size: rounds },
    // Of a name that no layout has a rule for: what lies on an axis is the stages.
    own: { name: hiddenName(over.name, 'own'), size: most }, counts: counts.every(n => n === most) ? undefined : counts,
  }
}

/** A tensor stacked along the layers, along rounds, stages and a stage's layers instead. Where stages have fewer layers than others zeros fill them up. */
export function placed(x: AnyTensor, over: Dim, { stage, rounds, own, counts }: Stages): T {
  const into = [...rounds === undefined ? [] : [rounds], stage]
  if (counts === undefined) return loose(x).split(over.name, [...into, own])
  let start = 0
  const pieces = counts.map(n => {
    const piece: T = slice<string, string>(loose(x), over.name, { start, end: start + n, as: own.name as never })
    start += n
    // Numbers of layers may be bools, which are not padded with numbers.
    return pad<string, string>(piece, own.name, 0, own.size - n)
  })
  const one: Dim = { name: hiddenName(over.name, 'piece'), size: pieces.length }
  return loose(stack<string, string>(pieces, one as never)).split(one.name, into)
}

/** Which of the places for layers have one: bools over rounds, stages and a stage's layers. */
export function filled({ stage, rounds, own, counts }: Stages): T | undefined {
  if (counts === undefined) return undefined
  const into = [...rounds === undefined ? [] : [rounds], stage]
  const one: Dim = { name: hiddenName(stage.name, 'piece'), size: counts.length }
  const most = loose(broadcast(numbersAlong(one, counts, 'i32'), [own]))
  return loose(broadcast(iota(own), [one])).less(most).split(one.name, into)
}

/**
 * The same tensor; its cotangent is 0 where it is not on. An idle stage computes with whatever is there, which may be no number, and 0 times that is no 0: so what comes back from it
 * is not multiplied but left out.
 */
export function guarded(x: AnyTensor, on: AnyTensor): T {
  if (!isFloat(x.dtype)) return loose(x)
  return withGradient([loose(x), loose(on)], ([x]): T => x, (g, _, [, on]) => [where(on as never, g, 0) as T, undefined])
}

/** What a stage computes of a whole batch, as a graph of its own; `lifted` makes it that of all stages. */
export interface Traced { readonly params: readonly Node<'input'>[]; readonly outputs: readonly Node[] }

const standIn = (name: string, like: Node, shape: readonly Dim[] = shapeOf(like)): Node<'input'> => inputNode(name, 'compute', { shape, dtype: dtypeOf(like) })

/**
 * The graph of one stage. Its params are x's leaves, those of the layers with `own` in place of `over`, which of these there are where that differs, and whether the stage has anything to do.
 * @throws DimError where a block returns something else than it is given
 */
export function traced<X extends Tree>(over: Dim, x: X, layers: Tree, { own, counts }: Stages, block: (x: X, layer: Tree) => X): Traced {
  const xs = leavesOf(x).map(({ path, leaf }) => standIn(`x.${path}`, leaf.node))
  const ws = leavesOf(layers).map(({ path, leaf }) => standIn(path, leaf.node, [own, ...leaf.shape.filter(d => d.name !== over.name)]))
  const there = counts === undefined ? [] : [inputNode('filled', 'compute', { shape: [own], dtype: 'bool' })]
  const on = inputNode('on', 'compute', { shape: [], dtype: 'bool' })
  const guard = (nodes: readonly Node[]): T[] => nodes.map(n => guarded(tensor(n), tensor(on)))

  const checked = (before: X, after: X): X => {
    const found = difference(before, after)
    if (found === undefined) return rebuildTree(before, alike(before, after).map(n => tensor(n)))
    throw new DimError({ code: 'blocks-differ', what: `pipeline: a block changes its ${found.what}, and stages hand on what they are given`, details: { before: found.before, after: found.after }, fix: 'return what the next block takes: the same form, dims and dtypes', at: userSite() })
  }
  const layer = (now: X, own: Tree, real: T | undefined): X => {
    if (real === undefined) return checked(now, block(now, own))
    const given = mapTree(now, t => guarded(t, real))
    const next = leavesOf(checked(now, block(given, mapTree(own, t => guarded(t, real)))))
    let i = 0
    return mapTree(now, t => where(real as never, loose(next[i++]?.leaf ?? t), t))
  }
  const start = rebuildTree(x, guard(xs))
  const stacked = rebuildTree(layers, guard(ws))
  const real = there.map(n => tensor<string>(n))
  if (own.size === 1) {
    const only = mapTree(stacked, t => index<string, string>(t, own.name, 0))
    return { params: [...xs, ...ws, ...there, on], outputs: leavesOf(layer(start, only, undefined)).map(l => l.leaf.node) }
  }
  const [last] = scan(own, start, { stacked, real } as Tree, (now, given) => {
    const { stacked: w, real: [r] } = given as unknown as { readonly stacked: Tree; readonly real: readonly T[] }
    return [layer(now, w, r), {}] as const
  })
  return { params: [...xs, ...ws, ...there, on], outputs: leavesOf(last).map(l => l.leaf.node) }
}

/** @throws DimError where something that goes through the pipeline lacks the batch's dim, or it cannot be cut into the microbatches */
export function batchOf(x: Tree, name: string, microbatches: number): Dim {
  const leaves = leavesOf(x)
  const found = leaves.map(({ path, leaf }) => ({ path, dim: leaf.shape.find(d => d.name === name) }))
  const problem = (what: string, fix: string): DimError => new DimError({ code: 'pipeline-batch', what: `pipeline: ${what}`, details: { given: leaves.map(l => `${l.path} ${formatShape(l.leaf.shape)}`).join(', ') }, fix, at: userSite() })
  const [first] = found
  const without = found.find(f => f.dim === undefined)
  if (first?.dim === undefined || without !== undefined) throw problem(`${without?.path === '' || without === undefined ? 'what goes through the blocks' : `"${without.path}"`} has no dim "${name}" to cut into microbatches`, 'let blocks use it from outside, or name the dim of the batch: { batch: … }')
  if (found.some(f => f.dim?.size !== first.dim?.size)) throw problem(`dim "${name}" has several sizes`, 'give all of what goes through the blocks one size')
  if (first.dim.size % microbatches !== 0) throw problem(`dim "${name}" of size ${first.dim.size} cannot be cut into ${microbatches} microbatches`, `use a number of microbatches that divides ${first.dim.size}`)
  return first.dim
}

