/** Held against the judge: relative errors, limits, and the table of them. */
import type { Arrays } from './exchange.ts'
import type { Ours } from './ours.ts'

export type Precision = 'f32' | 'f64'
/** What PyTorch computed for a case, once in each precision. */
export interface Judgement {
  readonly arrays: Arrays
  readonly numbers: { readonly [P in Precision]: Numbers }
}
/** Of the first batch; and of each training step. */
interface Numbers { readonly loss: number; readonly losses: readonly number[]; readonly norms: readonly number[] }

export interface Verdict {
  readonly case: string
  readonly mesh: string
  readonly judge: Precision
  readonly what: string
  readonly error: number
  readonly limit: number
  readonly passes: boolean
}

/** What `npm run oracle` prints of one subject: a text, or with `--json` one line of the rest. */
export interface Report {
  readonly judge: string
  readonly plugin: string
  readonly passes: boolean
  readonly worst: { readonly [what: string]: number }
  readonly verdicts: readonly object[]
  readonly text: string
}

const limits = { loss: 1e-5, gradient: 1e-4, trained: 1e-4 }

/** ‖a − b‖ / ‖b‖; NaN, another length, or nothing where something should be counts as infinitely far. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length || b.length === 0) return Infinity
  let [difference, size] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [a[i] ?? NaN, b[i] ?? NaN]
    difference += (x - y) ** 2
    size += y ** 2
  }
  const error = Math.sqrt(difference / size)
  return Number.isNaN(error) ? Infinity : error
}

/** All verdicts of one case on one mesh. */
export function compare(name: string, mesh: string, ours: Ours, judged: Judgement): Verdict[] {
  const verdicts: Verdict[] = []
  for (const judge of ['f32', 'f64'] as const) {
    const add = (what: string, a: ArrayLike<number>, b: ArrayLike<number>, limit: number): void => {
      const error = relativeError(a, b)
      verdicts.push({ case: name, mesh, judge, what, error, limit, passes: error < limit })
    }
    const numbers = judged.numbers[judge]
    add('loss', [ours.loss], [numbers.loss], limits.loss)
    // Which tensors there are is the judge's to say: one that we lack must not go unnoticed.
    const kinds = [['grad', 'gradient', ours.grads, limits.gradient], ['trained', 'trained', ours.trained, limits.trained]] as const
    for (const [prefix, label, of, limit] of kinds) {
      for (const [key, { data, shape }] of judged.arrays) {
        const path = key.slice(`${judge}.${prefix}.`.length)
        if (!key.startsWith(`${judge}.${prefix}.`)) continue
        const own = of.get(path)
        add(`${label} ${path}`, own?.shape.join() === shape.join() ? own.data : [], data, limit)
      }
    }
    numbers.losses.forEach((loss, i) => add(`step ${i} loss`, [ours.losses[i] ?? NaN], [loss], limits.trained))
    numbers.norms.forEach((norm, i) => add(`step ${i} gradient norm`, [ours.norms[i] ?? NaN], [norm], limits.trained))
  }
  return verdicts
}

/** One line per quantity: the errors of every mesh and precision side by side. */
export function table(verdicts: readonly Verdict[]): string {
  const columns = [...new Set(verdicts.map(v => `${v.mesh} ${v.judge}`))]
  const lines: string[] = []
  for (const name of new Set(verdicts.map(v => v.case))) {
    const rows = verdicts.filter(v => v.case === name)
    lines.push('', `${name.padEnd(28)}${columns.map(c => c.padStart(10)).join('')}${'limit'.padStart(10)}  verdict`)
    for (const what of new Set(rows.map(v => v.what))) {
      const of = rows.filter(v => v.what === what)
      const errors = columns.map(c => (of.find(v => `${v.mesh} ${v.judge}` === c)?.error ?? Infinity).toExponential(1).padStart(10))
      const limit = (of[0]?.limit ?? 0).toExponential(0).padStart(10)
      lines.push(`${what.padEnd(28)}${errors.join('')}${limit}  ${of.every(v => v.passes) ? 'ok' : 'FAILS'}`)
    }
  }
  return lines.join('\n')
}
