/** A run: everything that training needs to know, checked by one schema whoever says it. */
import type { Layout, LayoutFrom } from '../core/layout.ts'
import type { gptDims, gptLayouts } from '../models/gpt.ts'
import { UsageError } from '../core/errors.ts'
import { fieldError } from './fields.ts'
import { runSchema, type Run, type RunInput } from './run-schema.ts'

export type { Run } from './run-schema.ts'

type Axes = { readonly [axis: string]: number }
type ModelDim = keyof ReturnType<typeof gptDims>
type ModelLayout = keyof typeof gptLayouts

/** A run as a recipe writes it: its layouts speak of the model's dims, its own mesh's axes and the names that the model uses, or it does not compile. */
export type RunOf<M extends Axes> = Omit<RunInput, 'mesh' | 'layout' | 'params' | 'state' | 'layouts'> & {
  readonly mesh: M
  readonly layout?: Layout<ModelDim, NoInfer<keyof M & string>>
  readonly params?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout>
  readonly state?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout>
  readonly layouts?: { readonly [K in ModelLayout]?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout> }
}

/** Checks a run and fills in what it leaves open. @throws UsageError naming the field. */
export const defineRun = <const M extends Axes>(run: RunOf<M>): Run => parseRun(run, 'the recipe')

/** @throws UsageError naming the first field that is wrong; `where` says who gave the run. */
export function parseRun(value: unknown, where: string): Run {
  const parsed = runSchema.safeParse(value)
  if (parsed.success) {
    const { batch, microbatches } = parsed.data
    if (batch % microbatches === 0) return parsed.data
    throw new UsageError({ code: 'field', what: `${where}: microbatches is ${microbatches}, which does not divide batch, ${batch}`, fix: 'give it a number that does' })
  }
  throw fieldError(runSchema, value, parsed.error.issues[0], where)
}
