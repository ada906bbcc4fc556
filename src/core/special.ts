/** The error function and its inverse in f64, for what computes without XLA. */

const root = 2 / Math.sqrt(Math.PI)

/** e^(−x²): the square of a rounded number is exact, and what rounding took from it is small. */
function gaussian(x: number): number {
  const coarse = Math.round(x * 2 ** 16) / 2 ** 16
  return Math.exp(-coarse * coarse) * Math.exp((coarse - x) * (coarse + x))
}

/** 1 − erf(x) for x ≥ 1, by its continued fraction (Abramowitz and Stegun 7.1.14), from the far end. */
function complement(x: number): number {
  let f = 0
  for (let k = x < 2 ? 400 : 60; k >= 1; k--) f = k / 2 / (x + f)
  return gaussian(x) / ((x + f) * Math.sqrt(Math.PI))
}

/** erf(x) = 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (2n+1)!! (Abramowitz and Stegun 7.1.6): no term cancels another. */
function series(x: number): number {
  let [term, sum] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= 2 * x * x / (2 * n + 1)
    sum += term
  }
  return root * Math.exp(-x * x) * sum
}

/** 2/√π ∫₀ˣ e^(−t²) dt, to about 1e-15. */
export function erf(x: number): number {
  if (x === 0 || Number.isNaN(x)) return x
  const a = Math.abs(x)
  const y = a < 2 ? series(a) : a > 6 ? 1 : 1 - complement(a)
  return x < 0 ? -y : y
}

/** 1 − erf(x), without the cancellation where x is large. */
export const erfc = (x: number): number => (x < 1 || Number.isNaN(x) ? 1 - erf(x) : x > 28 ? 0 : complement(x))

/** The x whose erf is y: a first guess (Winitzki 2008) and Halley's steps, which near ±1 compare complements. */
export function erfInv(y: number): number {
  const a = Math.abs(y)
  if (a >= 1 || y === 0 || Number.isNaN(y)) return a > 1 ? Number.NaN : a === 1 ? y * Infinity : y
  const log = Math.log1p(-a * a)
  const t = 2 / (Math.PI * 0.147) + log / 2
  let x = Math.sqrt(Math.sqrt(t * t - log / 0.147) - t)
  for (let i = 0; i < 4; i++) {
    const error = x < 2 ? erf(x) - a : 1 - a - complement(x)
    const step = error / (root * Math.exp(-x * x))
    x -= step / (1 + x * step)
  }
  return y < 0 ? -x : x
}
