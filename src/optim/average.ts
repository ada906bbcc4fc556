/** Averages of parameters over the steps, for evaluation (Polyak and Juditsky 1992; exponential, as in TensorFlow's `ExponentialMovingAverage`). */
import { leavesOf, loose, mapTree } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { transformation, type Transformation } from './optimizer.ts'
import { checkOptions, kept, truth } from './options.ts'
import { at, mapPaths, type ByPath } from './parameters.ts'
import type { Specs } from './slots.ts'

export interface AverageOptions {
  /** How much of the average is kept at each step; 0.999 unless said. */
  readonly decay?: number
  /** Whether the first steps keep less, min(decay, (1 + n) / (10 + n)) after n steps, so that the first values are soon forgotten; true unless said. */
  readonly warmup?: boolean
}
/** `averaged` counts its steps, i32: a step that is skipped whole is none. */
export type AverageSlots = { readonly average: ByPath; readonly averaged: Tensor<string> }

/**
 * Changes no update: keeps averages of the parameters as they will be when it is subtracted, so it is the last of a chain. They begin as the parameters do, and are part
 * of the slots, counter and all. `averagesIn` finds them. @throws UsageError for options that cannot be
 */
export function averageParameters(options: AverageOptions = {}): Transformation<AverageSlots> {
  checkOptions('averageParameters', options, { decay: kept, warmup: truth })
  const { decay = 0.999, warmup = true } = options
  return transformation<AverageSlots>({
    description: { name: 'averageParameters', decay, warmup },
    declare: (parameters): Specs<AverageSlots> => ({
      average: Object.fromEntries(parameters.map(({ path, shape, dtype }) => [path, { shape, dtype, init: { param: path } }])), averaged: { shape: [], dtype: 'i32', init: 0 },
    }),
    apply: (updates, slots, { params, parameters, dtype }) => {
      const n = slots.averaged.cast(dtype)
      // 1 − min(decay, (1 + n) / (10 + n)), of which the second is 9 / (10 + n).
      const taken = warmup ? loose(n.add(10).reciprocal().mul(9).maximum(1 - decay)) : undefined
      const dtypes = new Map(parameters.map(p => [p.path, p.dtype]))
      const average = mapPaths(updates, (u, path) => {
        // As it will be stored, so that the average is of what the parameters are.
        const next = loose(at(params, path).sub(u)).cast(dtypes.get(path) ?? dtype).cast(dtype)
        const mean = at(slots.average, path)
        return mean.add(loose(loose(next.sub(mean)).mul(taken ?? 1 - decay)))
      })
      return { updates, slots: { average, averaged: slots.averaged.add(1) } }
    },
  })
}

/** The averages that lie in some slots. */
function findAverages(slots: Tree): Tree[] {
  if ('node' in slots || Array.isArray(slots)) return []
  const entries = slots as { readonly [name: string]: Tree }
  const { average, averaged } = entries
  if (average !== undefined && averaged !== undefined && 'node' in averaged) return [average]
  return Object.values(entries).flatMap(findAverages)
}

/** Whether `averagesIn` finds averages in these slots. */
export const hasAverages = (slots: Tree): boolean => findAverages(slots).length === 1

/**
 * The averages as parameters: a tree like `params`, in their dtypes, where parameters rest. What is not averaged, as it is frozen, is the parameter itself.
 * @param slots those of an optimizer that has `averageParameters` in its chain, at any depth but once
 * @throws DimError where there are no averages, or more than one
 */
export function averagesIn<P extends Tree>(params: P, slots: Tree): P {
  const found = findAverages(slots)
  const [tree] = found
  if (tree === undefined || found.length > 1) throw new DimError({ code: 'no-average', what: `averagesIn: the slots hold ${found.length} averages of parameters`, fix: 'put averageParameters() last in the chain, once', at: userSite() })
  const by = new Map(leavesOf(tree).map(l => [l.path, l.leaf]))
  return mapTree(params, (p, path) => loose(by.get(path) ?? p as AnyTensor).cast(p.dtype).relayout('params'))
}
