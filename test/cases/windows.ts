/** Cases: windows. */
import type { Case } from './case.ts'

export const windows: readonly Case[] = [
]
