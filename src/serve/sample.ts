/** Drawing a token from logits. */
import { threefry2x32 } from '../core/threefry.ts'

/**
 * The id drawn from softmax(logits / temperature); at temperature 0 the likeliest, the first of those that tie. A pure
 * function of the seed and the position, so that a text can be made again.
 */
export function sampleToken(logits: Float32Array, temperature: number, seed: number, position: number): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i
  if (temperature === 0) return best
  const top = logits[best] ?? 0
  const weights = Float64Array.from(logits, x => Math.exp((x - top) / temperature))
  const total = weights.reduce((sum, w) => sum + w, 0)
  let left = (threefry2x32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, position, 0) / 2 ** 32) * total
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i] ?? 0
    if (left < 0) return i
  }
  return best
}
