/** What clients send, checked. */
import { z } from 'zod'
import { ApiError } from '../server/errors.ts'
import { isColumn } from './history.ts'
import type { Column } from './shape.ts'

const short = z.string().max(2000)
const flags: z.ZodType<Flags> = z.strictObject({ mesh: short.optional(), batch: short.optional(), model: short.optional(), layout: short.optional(), params: short.optional(), state: short.optional(), set: z.array(short).max(64).optional() })
interface Flags { mesh?: string | undefined; batch?: string | undefined; model?: string | undefined; layout?: string | undefined; params?: string | undefined; state?: string | undefined; set?: string[] | undefined }
/** Of what a plan is wanted, with which flags, and on which machine a step's time. */
export const planAsk: z.ZodType<{ run?: string | undefined; recipe?: string | undefined; flags?: Flags | undefined; machine?: string | null | undefined }> = z.strictObject({ run: short.optional(), recipe: short.optional(), flags: flags.optional(), machine: short.nullable().optional() })
  .refine(a => (a.run === undefined) !== (a.recipe === undefined), 'give either run or recipe')
export const wishAsk: z.ZodType<{ run: string; wish: 'stop' | 'save' }> = z.strictObject({ run: short, wish: z.enum(['stop', 'save']) })

/** @throws ApiError for what is no such JSON */
export function parsed<T>(schema: z.ZodType<T>, text: string): T {
  let value: unknown
  try { value = JSON.parse(text) } catch { throw new ApiError(400, 'the body is not JSON', { code: 'json' }) }
  const found = schema.safeParse(value)
  if (found.success) return found.data
  const [issue] = found.error.issues
  throw new ApiError(400, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'wrong'}`.replace(/^: /, ''), { code: 'field' })
}

export function numberOf(text: string | undefined, name: string, usual: number, least: number, most: number): number {
  if (text === undefined) return usual
  const x = Number(text)
  if (text !== '' && Number.isFinite(x) && x >= least && x <= most) return x
  throw new ApiError(400, `${name} is no number from ${least} to ${most}`, { code: 'field' })
}
/** Names with commas between them. */
export function columnsOf(text: string | undefined): Column[] {
  const names = (text ?? 'loss').split(',')
  const wrong = names.find(n => !isColumn(n))
  if (wrong !== undefined) throw new ApiError(400, `there is no column "${wrong.slice(0, 40)}"`, { code: 'field' })
  return names as Column[]
}
