/** How rotary positions are scaled, in `config.json`'s words and in GGUF's: there some are numbers of the metadata, some are tensors. */
import { unfit, type Values } from './values.ts'
import type { JsonObject } from './architectures.ts'

/** By how much each frequency of a head's is divided (Llama 3.1; transformers' `_compute_llama3_parameters`). */
export function llama3Factors(size: number, base: number, { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original }: Readonly<Record<'factor' | 'low_freq_factor' | 'high_freq_factor' | 'original_max_position_embeddings', number>>): Float32Array {
  return Float32Array.from({ length: size / 2 }, (_, i) => {
    const wave = 2 * Math.PI * base ** (2 * i / size)
    if (wave < original / high) return 1
    if (wave > original / low) return factor
    const smooth = (original / wave - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

/**
 * The scaling that gives a tensor `rope_freqs.weight`: between the frequencies that are left alone and those that are divided by the whole factor, the
 * reciprocals lie on a line over the frequency. Of the three numbers that make it only two are told by it: the low one is taken to be 1.
 */
export function llama3Scaling(path: string, factors: Float32Array, base: number): JsonObject {
  const size = 2 * factors.length
  const factor = Math.max(...factors)
  const rate = (i: number): number => 1 / (2 * Math.PI * base ** (2 * i / size))
  const smoothAt = (i: number): number => (1 / (factors[i] as number) - 1 / factor) / (1 - 1 / factor)
  const between = [...factors.keys()].filter(i => (factors[i] as number) > 1.0001 && (factors[i] as number) < factor * 0.9999)
  const [first, last] = [between[0], between.at(-1)]
  const refuse = (): Error => unfit(path, 'rope_freqs.weight', 'is no scaling that transformers has', 'give the model in Hugging Face\'s format')
  if (!(factor > 1) || first === undefined || last === undefined || first === last) throw refuse()
  // smooth = original / (high − low) · rate − low / (high − low)
  const slope = (smoothAt(first) - smoothAt(last)) / (rate(first) - rate(last))
  const high = 1 + 1 / (slope * rate(first) - smoothAt(first))
  const rounded = (x: number): number => (Math.abs(x - Math.round(x)) < 1e-3 * x ? Math.round(x) : x)
  const scaling = { factor: rounded(factor), low_freq_factor: 1, high_freq_factor: rounded(high), original_max_position_embeddings: rounded(slope * (high - 1)) }
  const again = llama3Factors(size, base, scaling)
  if (factors.some((f, i) => !(Math.abs(f - (again[i] as number)) <= 1e-4 * f))) throw refuse()
  return { rope_type: 'llama3', ...scaling }
}

/** What the metadata alone say; undefined where nothing is scaled. @throws FileError where it is a scaling that is not known */
export function scalingOf(path: string, arch: string, values: Values): JsonObject | undefined {
  const kind = values.text(`${arch}.rope.scaling.type`) ?? 'none'
  const factor = values.number(`${arch}.rope.scaling.factor`)
  const original = values.number(`${arch}.rope.scaling.original_context_length`)
  if (kind === 'none' || kind === 'longrope') return undefined
  const more = values.number(`${arch}.rope.scaling.attn_factor`)
  if (more !== undefined && more !== 1) throw unfit(path, `${arch}.rope.scaling.attn_factor`, `is ${more}, and only 1 is known here`, 'give the model in Hugging Face\'s format')
  if (factor === undefined) throw unfit(path, `${arch}.rope.scaling.factor`, `is missing, and the scaling is ${kind}`)
  if (kind === 'linear') return { rope_type: 'linear', factor }
  if (kind === 'yarn') return { rope_type: 'yarn', factor, ...original === undefined ? {} : { original_max_position_embeddings: original } }
  throw unfit(path, `${arch}.rope.scaling.type`, `is "${kind}", which is none of linear, yarn and longrope`, 'give the model in Hugging Face\'s format')
}
