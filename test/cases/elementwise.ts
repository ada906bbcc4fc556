/** Cases: elementwise. */
import type { Case } from './case.ts'

export const elementwise: readonly Case[] = [
]
