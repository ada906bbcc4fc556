/** Few constants of a machine, fitted to measured steps: each within what a specification or sense allows, so that the mean relative error is least. */

export interface Constant { readonly name: string; readonly least: number; readonly most: number; readonly start: number }
export type Constants = Readonly<Record<string, number>>
/** One that is believed to be `start`, but for so wide a spread of its logarithm. */
export interface Believed extends Constant { readonly spread: number }

/**
 * How far constants are from what is believed of them, to be added to a mean error in percent, so that rows which do not tell them do not drive them far: the most probable constants are those of the least sum (maximum a
 * posteriori), where logarithms of constants are normal and errors of the fitted `rows` are so many percent, as Laplace has it.
 */
export const surprise = (believed: readonly Believed[], values: Constants, rows: number, percent: number): number =>
  percent / 2 / rows * believed.reduce((sum, { name, start, spread }) => sum + (Math.log((values[name] ?? start) / start) / spread) ** 2, 0)

/** Numbers in [0, 1) that a seed decides (Steele et al. 2014, SplitMix in 32 bits). */
export function drawn(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    const a = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    const b = Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
    return ((b ^ (b >>> 16)) >>> 0) / 2 ** 32
  }
}

/** So many of a list, drawn by the seed, and the others. */
export function sampled<T>(list: readonly T[], count: number, seed: number): { readonly sample: readonly T[]; readonly rest: readonly T[] } {
  const draw = drawn(seed)
  const order = list.map((x, i) => ({ x, i, at: draw() })).sort((a, b) => a.at - b.at)
  const inOrder = (part: typeof order): T[] => [...part].sort((a, b) => a.i - b.i).map(p => p.x)
  return { sample: inOrder(order.slice(0, count)), rest: inOrder(order.slice(count)) }
}

/** So many of a list, one of each part of it in the order of what they are: drawn by the seed, and the others. */
export function drawnByKind<T>(rows: readonly T[], count: number, seed: number, kind: (row: T) => string): { readonly sample: readonly T[]; readonly rest: readonly T[] } {
  const order = rows.map((row, i) => ({ row, i, key: kind(row) })).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.i - b.i))
  const draw = drawn(seed)
  const taken = new Set(Array.from({ length: count }, (_, i) => {
    const [from, to] = [Math.floor(i * order.length / count), Math.floor((i + 1) * order.length / count)]
    return order[from + Math.floor(draw() * (to - from))]?.i
  }))
  return { sample: rows.filter((_, i) => taken.has(i)), rest: rows.filter((_, i) => !taken.has(i)) }
}
/** Numbers as text that is ordered as they are. */
export const inDigits = (...numbers: readonly number[]): string => numbers.map(n => String(n).padStart(12, '0')).join()

const logit = (x: number): number => Math.log(x / (1 - x))
const logistic = (x: number): number => 1 / (1 + Math.exp(-x))

/**
 * Minimises by the simplex of Nelder and Mead (1965), in coordinates that cannot leave the bounds: logarithms of positive bounds, else their own scale. It is begun anew from the best
 * where it has become small, `rounds` times in all; `onRound` is told of each, and of the error then.
 */
export function fitted(constants: readonly Constant[], errorOf: (values: Constants) => number, rounds = 4, turns = 400, onRound?: (round: number, error: number) => void): { readonly values: Constants; readonly error: number } {
  const isLog = ({ least, most }: Constant): boolean => least > 0 && most / least > 4
  const inside = (x: number): number => Math.min(1 - 1e-4, Math.max(1e-4, x))
  const shareOf = (c: Constant, value: number): number => inside(isLog(c) ? Math.log(value / c.least) / Math.log(c.most / c.least) : (value - c.least) / (c.most - c.least))
  const valuesOf = (point: readonly number[]): Constants => Object.fromEntries(constants.map((c, i): [string, number] => {
    const share = logistic(point[i] ?? 0)
    return [c.name, isLog(c) ? c.least * (c.most / c.least) ** share : c.least + share * (c.most - c.least)]
  }))
  interface Corner { readonly at: readonly number[]; readonly error: number }
  const corner = (at: readonly number[]): Corner => ({ at, error: errorOf(valuesOf(at)) })
  let best = corner(constants.map(c => logit(shareOf(c, c.start))))
  for (let round = 0; round < rounds; round++) {
    const start = best.at
    const corners = [best, ...start.map((_, i) => corner(start.map((x, k) => (k === i ? x + (round % 2 === 0 ? 1 : -0.5) : x))))]
    const n = constants.length
    for (let turn = 0; turn < turns; turn++) {
      corners.sort((a, b) => a.error - b.error)
      const [first, worst, second] = [corners[0], corners[n], corners[n - 1]]
      if (first === undefined || worst === undefined || second === undefined || worst.error - first.error < 1e-6) break
      const middle = start.map((_, i) => corners.slice(0, n).reduce((sum, c) => sum + (c.at[i] ?? 0), 0) / n)
      const along = (by: number): Corner => corner(middle.map((x, i) => x + by * (x - (worst.at[i] ?? 0))))
      const mirrored = along(1)
      if (mirrored.error < first.error) {
        const further = along(2)
        corners[n] = further.error < mirrored.error ? further : mirrored
      } else if (mirrored.error < second.error) corners[n] = mirrored
      else {
        const nearer = along(mirrored.error < worst.error ? 0.5 : -0.5)
        if (nearer.error < Math.min(worst.error, mirrored.error)) corners[n] = nearer
        else for (let i = 1; i <= n; i++) corners[i] = corner((corners[i]?.at ?? []).map((x, k) => ((first.at[k] ?? 0) + x) / 2))
      }
    }
    best = corners.reduce((a, b) => (b.error < a.error ? b : a))
    onRound?.(round + 1, best.error)
  }
  return { values: valuesOf(best.at), error: best.error }
}
