/** The type of every op's results, and every way in which its operands can be wrong. */
import type { Infer } from '../node.ts'
import type { Attrs } from '../ops.ts'
import { basic } from './basic.ts'
import { elementwise } from './elementwise.ts'
import { contraction } from './contraction.ts'
import { indexing } from './indexing.ts'
import { control } from './control.ts'
import { rearranging } from './rearranging.ts'
import { windows } from './windows.ts'

export const infer: Infer<Attrs> = { ...basic, ...elementwise, ...contraction, ...indexing, ...control, ...rearranging, ...windows }
