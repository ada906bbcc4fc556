/** Cases: rearranging. */
import type { Case } from './case.ts'

export const rearranging: readonly Case[] = [
]
