/**
 * Square roots whose bits do not hang on how many are computed: XLA:CPU has an estimate of 1 / √x that it takes from some length on, also where a program divides by √x,
 * and computes it exactly below. What is done to the root here changes none, and is none of the forms that become that estimate.
 */
import type { UnaryFn } from '../graph/ops.ts'
import type { Ssa, Writer } from './writer.ts'

/** Undefined where it is no root of f32. */
export function emitRoot(fn: UnaryFn, x: Ssa, w: Writer): Ssa | undefined {
  if ((fn !== 'sqrt' && fn !== 'rsqrt') || x.dtype !== 'f32') return undefined
  const root = w.op('maximum', [w.op('sqrt', [x], x), w.constant(-1, 'f32', x.sizes)], x)
  return fn === 'sqrt' ? root : w.op('divide', [w.constant(1, 'f32', x.sizes), root], x)
}
