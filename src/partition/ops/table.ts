/**
 * The partition rule of every op. Given how its operands lie, each says what every device computes and how the result lies:
 * split dims stay split, contracting one leaves the result partial, and what an op cannot take is moved first.
 */
import type { Attrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'
import { basic } from './basic.ts'
import { elementwise } from './elementwise.ts'
import { contraction } from './contraction.ts'
import { indexing } from './indexing.ts'
import { control } from './control.ts'
import { rearranging } from './rearranging.ts'
import { windows } from './windows.ts'

export const partitioners: Partitioners<Attrs> = { ...basic, ...elementwise, ...contraction, ...indexing, ...control, ...rearranging, ...windows }
