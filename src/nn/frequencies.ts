/** The frequencies that rotary embeddings turn by, and how they are stretched for windows longer than those of training: numbers of the host. */
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'

/** How frequencies are scaled, as `transformers` has it under the same names. `original` is how many positions a window of training had before. */
export type RotaryScaling =
  /** Positions lie `factor` times as close (Chen et al. 2023). */
  | { readonly type: 'linear'; readonly factor: number }
  /** The base grows with the window where that is longer than `original` (NTK-aware scaling, bloc97 and emozilla 2023). */
  | { readonly type: 'dynamic'; readonly factor: number; readonly original: number }
  /** Low frequencies are divided by `factor`, high ones stay, between them a ramp; and products grow (Peng et al. 2023). */
  | {
    readonly type: 'yarn'; readonly factor: number; readonly original: number; readonly attentionFactor?: number | undefined; readonly betaFast?: number | undefined; readonly betaSlow?: number | undefined
    readonly mscale?: number | undefined; readonly mscaleAllDim?: number | undefined; readonly truncate?: boolean | undefined
  }
  /** Each frequency has a divisor of its own: `long` in windows longer than `original`, else `short` (Ding et al. 2024). */
  | { readonly type: 'longrope'; readonly factor: number; readonly original: number; readonly short: readonly number[]; readonly long: readonly number[]; readonly attentionFactor?: number | undefined }
  /** Wavelengths above original / low are stretched by `factor`, those below original / high stay (Llama 3.1). */
  | { readonly type: 'llama3'; readonly factor: number; readonly original: number; readonly low: number; readonly high: number }

export interface RotaryConfig {
  /** How many elements of each head are turned: an even number. */
  readonly size: number
  /** Of the frequencies, base^(−2i / size). */
  readonly base: number
  /** Positions in a window: what is scaled by length, is by this. */
  readonly seq: number
  readonly scaling?: RotaryScaling | undefined
}
/** What turns pair i: position · values[i]. Cosines and sines are multiplied by `scale`. */
export interface Frequencies { readonly values: readonly number[]; readonly scale: number }

type Of<K extends RotaryScaling['type']> = Extract<RotaryScaling, { readonly type: K }>
type Scaled<K extends RotaryScaling['type']> = (s: Of<K>, c: RotaryConfig, plain: (base: number) => number[]) => Frequencies

const unscaled = (values: readonly number[]): Frequencies => ({ values, scale: 1 })

const yarn: Scaled<'yarn'> = ({ factor, original, attentionFactor, betaFast = 32, betaSlow = 1, mscale, mscaleAllDim, truncate = true }, { size, base }, plain) => {
  const growth = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1)
  const scale = attentionFactor ?? (mscale !== undefined && mscale !== 0 && mscaleAllDim !== undefined && mscaleAllDim !== 0 ? growth(mscale) / growth(mscaleAllDim) : growth(1))
  /** Which pair turns so often in a window of training. */
  const pairOf = (turns: number): number => (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  const [from, to] = [pairOf(betaFast), pairOf(betaSlow)]
  const low = Math.max(truncate ? Math.floor(from) : from, 0)
  const high = Math.min(truncate ? Math.ceil(to) : to, size - 1)
  const ramp = (i: number): number => Math.min(Math.max((i - low) / (high === low ? 0.001 : high - low), 0), 1)
  return { values: plain(base).map((f, i) => f / factor * ramp(i) + f * (1 - ramp(i))), scale }
}
const longrope: Scaled<'longrope'> = ({ factor, original, short, long, attentionFactor }, { base, seq }, plain) => {
  const divisors = seq > original ? long : short
  const values = plain(base)
  if (divisors.length !== values.length) {
    throw new DimError({ code: 'option', what: `rotary: longrope has ${divisors.length} divisors for ${values.length} frequencies`, fix: 'give one for each pair of elements that is turned', at: userSite() })
  }
  return { values: values.map((f, i) => f / (divisors[i] ?? 1)), scale: attentionFactor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))) }
}
const llama3: Scaled<'llama3'> = ({ factor, original, low, high }, { base }, plain) => unscaled(plain(base).map(f => {
  const length = 2 * Math.PI / f
  if (length > original / low) return f / factor
  if (length < original / high) return f
  const smooth = (original / length - low) / (high - low)
  return (1 - smooth) * f / factor + smooth * f
}))
const scalings: { readonly [K in RotaryScaling['type']]: Scaled<K> } = {
  linear: ({ factor }, { base }, plain) => unscaled(plain(base).map(f => f / factor)),
  dynamic: ({ factor, original }, { size, base, seq }, plain) =>
    unscaled(plain(base * (factor * Math.max(seq, original) / original - (factor - 1)) ** (size / (size - 2)))),
  yarn, longrope, llama3,
}

/**
 * The frequencies of a rotary embedding (Su et al. 2021), scaled as said.
 * @throws DimError when a size is odd, or an option is none
 */
export function rotaryFrequencies(config: RotaryConfig): Frequencies {
  const { size, base, scaling } = config
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'option', what: `rotary: ${what}`, fix, at: userSite() })
  if (!(Number.isInteger(size) && size > 0 && size % 2 === 0)) throw wrong(`${shown(size)} elements have no pairs`, 'give an even number of them')
  if (!(base > 0 && base < Infinity)) throw wrong(`base is ${base}`, 'give a number above 0')
  const plain = (b: number): number[] => Array.from({ length: size / 2 }, (_, i) => b ** (-2 * i / size))
  if (scaling === undefined) return unscaled(plain(base))
  // Checked at run time because a caller may not be written in TypeScript.
  const scaled = Object.hasOwn(scalings, scaling.type) ? scalings[scaling.type] as Scaled<RotaryScaling['type']> : undefined
  if (scaled === undefined) throw wrong(`there is no scaling ${shown(scaling.type)}`, `give one of ${Object.keys(scalings).join(', ')}`)
  if (!(scaling.factor > 0 && scaling.factor < Infinity)) throw wrong(`the factor of ${scaling.type} is ${scaling.factor}`, 'give a number above 0')
  const found = scaled(scaling, config, plain)
  if (!found.values.every(Number.isFinite) || !Number.isFinite(found.scale)) throw wrong(`${scaling.type} makes no numbers of its settings`, 'check them: none may be NaN, none of those that divide 0')
  return found
}
