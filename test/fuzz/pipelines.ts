/** Pipelines in random programs: of any stages, schedules and microbatches, each beside the loop over layers that it stands for. Of registry.ts; by the same rules. */
import { dim, dropout, fold, full, iota, keyOf, loose, lossAndGrads, scan, where, type Dim, type Outcome, type Scalar } from '../../src/engine/index.ts'
import { softmax, weightedMean } from '../../src/nn/index.ts'
import { pipeline, pipelineLoss, type LossOptions } from '../../src/parallel/index.ts'
import { along, mean, others, scalar, spread, weights } from './making.ts'
import type { Making, Op, Step, T } from './program.ts'

/** What was found, if it is what was expected; else no number at all, so that the program is wrong wherever it runs. In f32 roundings may tell them apart. */
const like = (found: T, expected: T, m: Making): T =>
  (m.sharp ? where(found.sub(expected).abs().lessEqual(expected.abs().add(1).mul(1e-8)), found, loose(full(NaN, [], m.dtype))) : found)

interface Stack { readonly w: T; readonly index: T }
type Given = { readonly x: T; readonly w: T }
/** Layers over x, whose examples lie along d; their weights are made of y, and what every one of them uses besides of another tensor. */
interface Layers { readonly layers: Dim; readonly given: Given; readonly stacked: (w: T) => Stack; readonly block: (x: T, layer: Stack) => T; readonly how: LossOptions }

function layersOf(x: T, d: string, s: Step, m: Making, size: number, schedule: LossOptions['schedule']): Layers | undefined {
  const parts = m.stageParts
  const rounds = schedule === 'circular' ? 1 + s.op % 2 : 1
  const stages = parts > 1 ? parts : 1 + s.way % 3
  const counts = Array.from({ length: size }, (_, i) => i + 1).filter(n => size % n === 0 && (schedule !== 'circular' || n % stages === 0))
  if (x.shape.length > 3 || counts.length === 0) return undefined
  const layers = dim(m.layers, stages * rounds + (parts > 1 && s.x % 3 > 0 ? 0 : s.x % 3))
  const first = 1 + layers.size - stages * rounds
  const even = rounds > 1 || s.y % 2 === 0
  const inside = (t: T): T => mean(t, others(t, ...others(x)))
  const w = spread(mean(inside(m.fitting(x, s.y)).sin(), x.shape.some(e => e.name === d) ? others(inside(m.fitting(x, s.y)), ...others(x, d)) : []), layers, m)
  const shared = inside(m.fitting(x, s.dim)).cos()
  const e = x.shape.find(e => e.name !== d)
  const turned = e === undefined ? undefined : m.free(s.dim, e.size, x)
  const key = keyOf(scalar(full(s.way, [], 'i32')))
  const alone = (x: T, { w, index }: Stack): T => m.pick<() => T>([() => x.mul(w.cos()).add(shared).sin(), () => dropout(fold(key, scalar(index)), x.add(w), 0.4).mul(0.6), () => m.named(x.sin()).relayout('compute').mul(w)], s.op)()
  const block = (x: T, layer: Stack): T => (e === undefined || turned === undefined ? alone(x, layer) : m.pick<() => T>([
    () => alone(x, layer), () => x.dot(weights(m, [e, turned]), e.name).rename(turned.name, e.name).mul(layer.w).add(shared).sin(), () => softmax(x.add(layer.w), e.name).add(x.sin()), () => x.sub(x.mean(e.name)).mul(layer.w.sin()),
    () => loose(scan(e as Dim<never>, mean(x, others(x, d)).mul(0), { x }, (sum: T, slice) => { const here = loose((slice as unknown as { x: T }).x); const next = sum.add(mean(here, others(here, d)).mul(0.3)); return [next, { y: here.add(next.sin()) }] })[1].y).mul(layer.w.cos()),
  ], s.way)())
  return {
    layers, given: { x, w }, stacked: w => ({ w, index: loose(iota(layers)) }), block,
    how: {
      batch: d, stages: even ? stages : [first, ...Array.from({ length: stages - 1 }, () => 1)], microbatches: m.pick(counts, s.x), schedule, remat: m.pick(['all-but-contractions', 'everything', 'nothing'] as const, s.y),
      ...(schedule === 'circular' ? { rounds } : {}),
    },
  }
}
const scanned = ({ layers, block, stacked }: Layers, { x, w }: Given): T => loose(scan(layers as Dim<never>, x, stacked(w) as never, (x: T, layer) => [block(x, layer as unknown as Stack), {}])[0])

export const pipelines: { readonly [name: string]: Op } = {
  pipeline: along((x, d, s, m, size) => {
    const made = layersOf(x, d, s, m, size, m.pick(['gpipe', 'circular'] as const, s.dim))
    if (made === undefined) return x
    const { remat: _, ...how } = made.how
    return like(pipeline(made.layers as Dim<never>, x, made.stacked(made.given.w) as never, (x: T, layer) => made.block(x, layer as unknown as Stack), how), scanned(made, made.given), m).mul(0.5)
  }),
  pipelineLoss: along((x, d, s, m, size) => {
    const made = layersOf(x, d, s, m, size, m.pick(['1f1b', '1f1b', 'gpipe', 'circular'] as const, s.dim))
    if (made === undefined) return x
    const counted = { counts: loose(iota(dim(d, size))).rem(3), wanted: m.fitting(x, s.y).sin() }
    const loss = (y: T, { counts, wanted }: { counts: T; wanted: T }): Outcome => {
      const away = y.sub(mean(wanted, others(wanted, ...others(y)))).square()
      const { value, weight } = weightedMean(mean(away, others(away, d)) as never, counts as never)
      return { loss: scalar(value), weight: scalar(weight), metrics: { error: { value: scalar(y.sin().mean()) } } }
    }
    const found = (of: (given: Given) => Outcome) => lossAndGrads(of)(made.given)
    const piped = found(given => pipelineLoss(made.layers as Dim<never>, given.x, made.stacked(given.w) as never, (x: T, layer) => made.block(x, layer as unknown as Stack), counted, loss, { ...made.how, head: m.pick(['last', 'all'] as const, s.way) }))
    const looped = found(given => loss(scanned(made, given), counted))
    const values = ({ value, weight, grads }: typeof piped): readonly T[] => [loose(value as Scalar), loose(weight as Scalar).cast(m.dtype), grads.x, grads.w]
    return values(piped).map((t, i) => like(t, values(looped)[i] ?? t, m))
  }),
}
