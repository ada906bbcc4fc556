/** The schedules that there are: what each does between its warm-up and its end. Their convention is that of schedule.ts. */
import type { Maths } from './maths.ts'
import { checkOptions, checkValue, count, notNegative, oneOf, positive, share, truth, usage, whole, type Check } from './options.ts'
import { aRate, plainRate, schedule, scheduleOf, type Rate, type Schedule } from './schedule.ts'

export interface WarmUp {
  /** The highest rate. */
  readonly peak: number
  /** Steps of linear warm-up, from peak / warmup to the peak; 0 unless said: the first step begins to fall. */
  readonly warmup?: number
}
export interface Falling extends WarmUp {
  /** The schedule's length, warm-up and all. Where the warm-up is as long or longer, the floor follows it at once. */
  readonly steps: number
  /** The lowest rate, as a share of the peak; 0 unless said. (optax's `alpha`, transformers' `min_lr_rate`; Megatron's `min_lr` is a rate.) */
  readonly floor?: number
}

/** Linear warm-up to the peak, then what `after` says. The share is computed first: its last is exactly 1. */
const warmed = <T>(k: T, m: Maths<T>, { peak, warmup = 0 }: WarmUp, after: T): T =>
  warmup === 0 ? after : m.less(k, warmup, m.mul(m.div(m.add(k, 1), warmup), peak), after)
/** How much of the way to the end is left, 1 before it begins and 0 from step `end` − 1 on. */
const left = <T>(k: T, m: Maths<T>, end: number, length: number): T =>
  length <= 0 ? m.less(k, end, m.number(1), m.number(0)) : m.max(m.min(m.div(m.add(m.mul(k, -1), end - 1), length), 1), 0)
/** From the peak, where the share is 1, to exactly the floor, where it is 0. */
const between = <T>(m: Maths<T>, { peak, floor = 0 }: Falling, of: T): T => m.add(m.mul(of, (1 - floor) * peak), floor * peak)

/** From what is left of the way, the share of the peak above the floor. */
export const shapes = {
  linear: <T>(x: T): T => x,
  /** (1 + cos(π − πx)) / 2 as sin²(πx / 2): towards the end 1 + cos would be what rounding leaves of it. */
  cosine: <T>(x: T, m: Maths<T>): T => { const s = m.sin(m.mul(x, Math.PI / 2)); return m.mul(s, s) },
  /** 1 − √(1 − x), which is x / (1 + √(1 − x)) and keeps its digits. */
  '1-sqrt': <T>(x: T, m: Maths<T>): T => m.div(x, m.add(m.sqrt(m.add(m.mul(x, -1), 1)), 1)),
} as const
export type Shape = keyof typeof shapes

const falling: { readonly [K in keyof Falling]-?: Check } = { peak: notNegative, warmup: whole, steps: whole, floor: share }
const falls = (name: 'linear' | 'cosine', options: Falling): Schedule => {
  checkOptions(name, options, falling, ['peak', 'steps'])
  const { peak, warmup = 0, steps, floor = 0 } = options
  return schedule({ name, peak, warmup, steps, floor }, (k, m) =>
    warmed(k, m, options, steps <= warmup ? m.number(floor * peak) : between(m, options, shapes[name](left(k, m, steps, steps - warmup), m))))
}

/** Linear warm-up, then linear to the floor. Of 0 steps: the floor (optax's would stay at its first value). @throws UsageError for options that cannot be */
export const linear = (options: Falling): Schedule => falls('linear', options)

/** Linear warm-up, then half a cosine to the floor (Loshchilov and Hutter 2017). @throws UsageError for options that cannot be */
export const cosine = (options: Falling): Schedule => falls('cosine', options)

export interface WarmupStableDecay extends Falling {
  /** How long it falls at the end: steps, or below 1 a share of `steps`, rounded; 0.2 unless said. Of 0, the peak holds to the last step. */
  readonly tail?: number
  /** How it falls: linear unless said, as torchtitan's (transformers' default is cosine). 1-sqrt is Hägele et al. 2024. */
  readonly shape?: Shape
}

/** Warm-up, the peak, and a fall at the end (WSD: Hu et al. 2024, MiniCPM; Hägele et al. 2024). @throws UsageError for options that cannot be, as where warm-up and fall do not fit in its steps */
export function warmupStableDecay(options: WarmupStableDecay): Schedule {
  const name = 'warmupStableDecay'
  checkOptions(name, options, { ...falling, tail: notNegative, shape: oneOf(...Object.keys(shapes)) }, ['peak', 'steps'])
  const { peak, warmup = 0, steps, floor = 0, tail = 0.2, shape = 'linear' } = options
  if (tail >= 1 && !Number.isInteger(tail)) throw usage(`${name}: tail is ${tail}`, 'give a whole number of steps, or a share of them below 1')
  const length = tail < 1 ? Math.round(tail * steps) : tail
  if (warmup + length > steps) throw usage(`${name}: a warm-up of ${warmup} and a fall of ${length} do not fit in ${steps} steps`, 'make one of them shorter, or steps larger')
  return schedule({ name, peak, warmup, steps, floor, tail, shape }, (k, m) => warmed(k, m, options, between(m, options, shapes[shape](left(k, m, steps, length), m))))
}

export interface InverseSqrt extends WarmUp {
  /** T of √(T / (T + steps since the warm-up)): the warm-up's length unless said (1 without), so that the rate is peak · √(W / (k + 1)). */
  readonly timescale?: number
}
/** Linear warm-up, then 1 / √ of the step (Vaswani et al. 2017), continuous where they meet: peak · √(T / (T + k + 1 − W)). It has no end. @throws UsageError for options that cannot be */
export function inverseSqrt(options: InverseSqrt): Schedule {
  checkOptions('inverseSqrt', options, { peak: notNegative, warmup: whole, timescale: positive }, ['peak'])
  const { peak, warmup = 0 } = options
  const { timescale = Math.max(1, warmup) } = options
  return schedule({ name: 'inverseSqrt', peak, warmup, timescale }, (k, m) => {
    // During the warm-up the number under the root is no matter, but it must be one.
    const since = m.max(m.add(k, 1 - warmup), 0)
    return warmed(k, m, options, m.mul(m.sqrt(m.div(m.number(timescale), m.add(since, timescale))), peak))
  })
}

export interface RelativeStep {
  /** The highest rate; 0.01 unless said. */
  readonly most?: number
  /** Whether it starts from 10⁻⁶ · (k + 1) instead: transformers' `warmup_init`. */
  readonly warmup?: boolean
}
/** min(most, 1 / √(k + 1)): Adafactor's relative step (Shazeer and Stern 2018, §8). @throws UsageError for options that cannot be */
export function relativeStep(options: RelativeStep = {}): Schedule {
  checkOptions('relativeStep', options, { most: positive, warmup: truth })
  const { most = 0.01, warmup = false } = options
  return schedule({ name: 'relativeStep', most, warmup }, (k, m) => {
    const t = m.add(k, 1)
    return m.min(m.div(m.number(1), m.sqrt(t)), warmup ? m.min(m.mul(t, 1e-6), most) : most)
  })
}

export interface Piece {
  /** Its first step. */
  readonly from: number
  /** Its rate; a schedule counts from 0 again, as in optax's `join_schedules`. */
  readonly rate: Rate
}
/** One after another, the first from step 0 on. @throws UsageError where the steps do not begin at 0 and rise */
export function piecewise(pieces: readonly Piece[]): Schedule {
  checkValue('piecewise', pieces, { fits: x => Array.isArray(x) && x.length > 0, fix: 'give a list of { from, rate }' })
  for (const [i, piece] of pieces.entries()) {
    checkOptions(`piecewise: piece ${i}`, piece, { from: whole, rate: aRate }, ['from', 'rate'])
    const before = pieces[i - 1]
    if (before === undefined ? piece.from !== 0 : piece.from <= before.from) throw usage(`piecewise: piece ${i} begins at step ${piece.from}`, before === undefined ? 'let the first begin at 0' : `let it begin after step ${before.from}`)
  }
  const parts = pieces.map(({ from, rate }) => ({ from, of: scheduleOf(rate) }))
  return schedule({ name: 'piecewise', pieces: pieces.map(({ from, rate }) => ({ from, rate: plainRate(rate) })) }, <T>(k: T, m: Maths<T>) =>
    parts.reduce<T | undefined>((before, { from, of }) => {
      const own = of.formula(m.max(m.add(k, -from), 0), m)
      return before === undefined ? own : m.less(k, from, before, own)
    }, undefined) ?? m.number(0))
}

/** The product of rates at each step: a schedule of a peak of 1, and a number; or two schedules. @throws UsageError for what is no rate */
export function product(...rates: readonly [Rate, ...Rate[]]): Schedule {
  checkValue('product: the number of rates', rates.length, count)
  for (const rate of rates) checkValue('product: a rate', rate, aRate)
  const parts = rates.map(scheduleOf)
  return schedule({ name: 'product', rates: rates.map(plainRate) }, <T>(k: T, m: Maths<T>) => parts.map(of => of.formula(k, m)).reduce((a, b) => m.mul(a, b)))
}
