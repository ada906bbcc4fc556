/** The table of cases: every op and composition, as data. A new op gets all its tests by a line here. */
import { basic } from './basic.ts'
import type { Case } from './case.ts'
import { control } from './control.ts'
import { elementwise } from './elementwise.ts'
import { halves } from './half-precision.ts'
import { indexing } from './indexing.ts'
import { nn } from './nn.ts'
import { numbers } from './numbers.ts'
import { rearranging } from './rearranging.ts'
import { windows } from './windows.ts'

// `MESHWORK_CASES=roll` runs only the cases whose names match.
const wanted = new RegExp(process.env['MESHWORK_CASES'] ?? '')

export const everyCase: readonly Case[] = [...basic, ...elementwise, ...rearranging, ...indexing, ...windows, ...control, ...halves, ...numbers, ...nn]
export const cases: readonly Case[] = everyCase.filter(c => wanted.test(c.name))
export type { Case } from './case.ts'
