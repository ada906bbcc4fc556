/** The gradient of every op: cotangents of its operands from those of its results. */
import type { Attrs } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'
import { basic } from './basic.ts'
import { elementwise } from './elementwise.ts'
import { contraction } from './contraction.ts'
import { indexing } from './indexing.ts'
import { control } from './control.ts'
import { rearranging } from './rearranging.ts'
import { windows } from './windows.ts'

export const vjps: Vjps<Attrs> = { ...basic, ...elementwise, ...contraction, ...indexing, ...control, ...rearranging, ...windows }
