/** What decoders do where their sequences are split and attended to in a context: the order of their tokens, and what a configuration may say. */
import { z } from 'zod'
import type { Dim } from '../core/dim.ts'
import type { Tensor } from '../graph/types.ts'
import { attentionLayout, zigzag, type Context } from '../nn/context.ts'
import type { Ids, Inputs } from './next-token.ts'

const blocks = z.int().min(1)
type Shape = z.ZodOptional<z.ZodDiscriminatedUnion<[z.ZodObject<{ form: z.ZodEnum<{ ring: 'ring'; zigzag: 'zigzag'; gather: 'gather' }>; blocks: z.ZodInt }, z.core.$strict>, z.ZodObject<{ form: z.ZodLiteral<'ulysses'> }, z.core.$strict>], 'form'>>
export const contextSchema: Shape = z.discriminatedUnion('form', [z.strictObject({ form: z.enum(['ring', 'zigzag', 'gather']), blocks }), z.strictObject({ form: z.literal('ulysses') })]).optional()

interface Configured { readonly seq: number; readonly context?: Context | undefined; readonly attentionDropout?: number | undefined; readonly attention?: string | undefined }
/** Says what in a configuration contradicts its context. */
export function checkInContext({ seq, context, attentionDropout = 0, attention = 'causal' }: Configured, wrong: (path: string, message: string) => void): void {
  if (context === undefined) return
  const parts = context.form === 'ulysses' ? 1 : context.form === 'zigzag' ? 2 * context.blocks : context.blocks
  if (seq % parts !== 0) wrong('context', `give blocks of which ${parts === context.blocks ? 'as' : 'twice as'} many divide seq, which is ${seq}`)
  if (attentionDropout > 0) wrong('attentionDropout', 'leave it 0 where there is a context: no form of it drops shares')
  if (context.form === 'zigzag' && attention !== 'causal') wrong('context', `give form ring: zigzag balances what a causal mask leaves, and attention is ${attention}`)
}

/** The layouts that decoders name: of the stream between layers, and of sequences while they are attended to. */
export type DecoderLayouts = { readonly residual: 'compute' } & typeof attentionLayout
export const allLayouts: DecoderLayouts = { residual: 'compute', ...attentionLayout }
/** Those of one: without a context nothing is attended to elsewhere. */
export const decoderLayouts = (context: Context | undefined): DecoderLayouts => (context === undefined ? { residual: allLayouts.residual } as DecoderLayouts : allLayouts)

/** The order in which a model computes with its tokens: that of the text, or zigzag. */
export interface Order {
  readonly inputs: <I extends Inputs>(given: I) => I
  readonly targets: (targets: Ids) => Ids
  readonly back: <D extends string>(x: Tensor<D>) => Tensor<D>
}
export function orderOf(context: Context | undefined, seq: Dim): Order {
  if (context?.form !== 'zigzag') return { inputs: x => x, targets: x => x, back: x => x }
  const { into, back, places } = zigzag(seq, context.blocks)
  return {
    inputs: given => ({ positions: places, ...Object.fromEntries(Object.entries(given).map(([name, x]) => [name, into(x as Ids)])) }) as unknown as typeof given,
    targets: into, back,
  }
}
