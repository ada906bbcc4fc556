/** Cases: control. */
import type { Case } from './case.ts'

export const control: readonly Case[] = [
]
