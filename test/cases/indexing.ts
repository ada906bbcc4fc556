/** Cases: indexing. */
import type { Case } from './case.ts'

export const indexing: readonly Case[] = [
]
