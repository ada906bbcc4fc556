/** Threefry-2x32-20 as elementwise u32 ops (Salmon et al. 2011); the reference evaluator has it in plain words. */
import type { Ssa, Writer } from './writer.ts'

const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]] as const

/** The first word of each element's result, of operands of one shape. */
export function threefry([key0, key1, counter0, counter1]: readonly Ssa[], w: Writer): Ssa {
  if (key0 === undefined || key1 === undefined || counter0 === undefined || counter1 === undefined) throw new Error('threefry has four operands')
  const type = key0
  const constant = (value: number): Ssa => w.constant(value, 'u32', type.sizes)
  const op = (name: string, a: Ssa, b: Ssa): Ssa => w.op(name, [a, b], type)
  const rotate = (x: Ssa, by: number): Ssa => op('or', op('shift_left', x, constant(by)), op('shift_right_logical', x, constant(32 - by)))
  const parity = op('xor', op('xor', key0, key1), constant(0x1bd11bda))
  const keys = [key0, key1, parity]
  const key = (i: number): Ssa => keys[i % 3] ?? key0
  let x0 = op('add', counter0, key0)
  let x1 = op('add', counter1, key1)
  for (let group = 0; group < 5; group++) {
    for (const by of rotations[group % 2 === 0 ? 0 : 1]) {
      x0 = op('add', x0, x1)
      x1 = op('xor', rotate(x1, by), x0)
    }
    x0 = op('add', x0, key(group + 1))
    x1 = op('add', op('add', x1, key(group + 2)), constant(group + 1))
  }
  return x0
}
