/** What each op computes, in the plainest way: loops over indices, f64 throughout. */
import type { Attrs } from '../ops.ts'
import type { Evaluators } from './evaluator.ts'
import { basic } from './basic.ts'
import { elementwise } from './elementwise.ts'
import { contraction } from './contraction.ts'
import { indexing } from './indexing.ts'
import { control } from './control.ts'
import { rearranging } from './rearranging.ts'
import { windows } from './windows.ts'

export const reference: Evaluators<Attrs> = { ...basic, ...elementwise, ...contraction, ...indexing, ...control, ...rearranging, ...windows }
