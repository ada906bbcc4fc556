/**
 * What an optimizer is: a value that declares its slots and makes of gradients what is subtracted from parameters, once. It is made of transformations,
 * which are optimizers themselves; a trainer needs to know no more than `Optimizer`.
 */
import { isFloat, type DType } from '../core/dtype.ts'
import { onCallersLine } from '../core/site.ts'
import { slot } from '../graph/input.ts'
import { expectDims, full, leavesOf, loose, mapTree, zipTrees } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor, Tree } from '../graph/types.ts'
import type { Description } from './description.ts'
import { usage } from './options.ts'
import { at, parametersOf, type ByPath, type Parameter } from './parameters.ts'
import type { Schedule } from './schedule.ts'
import { flatSlots, heldSlots, leavesIn, sameDims, type Held, type SlotSet, type Specs } from './slots.ts'

/** What a trainer asks of an optimizer. `S` is what it remembers: a tree of slots. */
export interface Optimizer<S extends Tree = Tree> {
  readonly description: Description
  /** The learning rate of a step, for metrics; where there are several, the first one's. */
  readonly rate?: Schedule
  /** The slots as a program's inputs, laid out as `state`. */
  slots(params: Tree): S
  /** Their first values, for these values of the parameters. */
  init(params: Tree): S
  /**
   * What is to be subtracted from the parameters (`applyUpdates` does it), f32, or f64 where parameters or slots are, laid out as `state`; and the next slots.
   * Gradients may lie anyhow; norms and means are over whole tensors, whatever the layout. `step` counts from 0. Where `params` are not what `param` made but were computed,
   * `declared` is: it says which of them decay.
   * @throws DimError where gradients or slots are not those of the parameters
   */
  update<P extends Tree>(grads: NoInfer<P>, slots: S, params: P, step: Scalar, declared?: Tree): { readonly updates: P; readonly slots: S }
}

/** What a rule sees beside updates and slots. All is laid out as `state`. */
export interface Context {
  /** The parameters before the step, by path. */
  readonly params: ByPath
  readonly parameters: readonly Parameter[]
  /** From 0: a scalar of floats. */
  readonly step: Scalar
  /** What is computed in. */
  readonly dtype: 'f32' | 'f64'
}

/** How a transformation is written: over the parameters that it is given, by path. */
export interface Rule<S> {
  readonly description: Description
  readonly rate?: Schedule
  /** The slots for some parameters; of none, the same names without any. */
  declare(parameters: readonly Parameter[]): Specs<S>
  /** Updates in, updates out, for the same paths, in the context's dtype; slots that are floats are in it too, and are rounded to their own afterwards. */
  apply(updates: ByPath, slots: S, context: Context): { readonly updates: ByPath; readonly slots: S }
}

/** A step in making updates of gradients: what `chain` is made of. By itself it is an optimizer, too. */
export type Transformation<S = SlotSet> = Optimizer<Held<S>> & { readonly rule: Rule<S> }

/** Lies as `state`; what was laid so before is left as it is, so that equal sums stay one. */
const asState = (x: Tensor<string>): Tensor<string> => (x.node.op === 'relayout' && x.node.attrs.to === 'state' ? x : x.relayout('state'))
const record = (tree: Tree, f: (leaf: Tensor<string>) => Tensor<string>): ByPath => Object.fromEntries(leavesOf(tree).map(({ path, leaf }) => [path, f(loose(leaf))]))

/** A transformation of one's own. */
export function transformation<S extends SlotSet>(rule: Rule<S>): Transformation<S> {
  const { description, rate } = rule
  return {
    description, rule, ...(rate === undefined ? {} : { rate }),
    slots: params => {
      const declared = rule.declare(parametersOf(params))
      return onCallersLine(() => heldSlots<S>(declared, ({ shape, dtype }, path) => slot(path, shape, dtype)))
    },
    init: params => {
      const values = new Map(leavesOf(params).map(l => [l.path, loose(l.leaf)]))
      const first = (param: string, dtype: DType): AnyTensor => {
        const found = values.get(param)
        if (found === undefined) throw usage(`${description.name}: a slot begins as parameter "${param}", which there is not`, 'give a path of a parameter')
        return found.cast(dtype)
      }
      return heldSlots<S>(rule.declare(parametersOf(params)), ({ shape, dtype, init }) =>
        loose(typeof init === 'number' ? full(init, shape, dtype) : first(init.param, dtype)).relayout('state'))
    },
    update: (grads, slots, params, step, declared = params) => {
      const parameters = parametersOf(declared)
      const specs = rule.declare(parameters)
      const given = leavesIn(description.name, specs, slots)
      const dtype = [...leavesOf(params).map(l => l.leaf), ...given.values()].some(x => x.dtype === 'f64') ? 'f64' : 'f32'
      const wide = (x: Tensor<string>): Tensor<string> => (isFloat(x.dtype) ? asState(x).cast(dtype) : asState(x))
      const ordered = zipTrees(params, grads, (p, g, path) => {
        sameDims(`${description.name}: the gradient of "${path}"`, g, p.shape)
        return g
      })
      // A clock of few bits stands still; one of many keeps them.
      const time = step.dtype === 'f64' ? step : step.cast(dtype)
      const context: Context = { params: onCallersLine(() => record(params, wide)), parameters, step: time, dtype }
      const next = rule.apply(onCallersLine(() => record(ordered, wide)), onCallersLine(() => flatSlots<S>(specs, [...given.values()].map(wide))), context)
      const after = leavesIn(`${description.name}: what its rule returns`, specs, next.slots)
      return onCallersLine(() => ({
        updates: mapTree(params, (p, path) => asState(loose(expectDims(at(next.updates, path).cast(dtype), p.shape)))),
        slots: heldSlots<S>(specs, ({ shape, dtype: declaredAs }, path) => asState(loose(expectDims(loose(after.get(path) as AnyTensor).cast(given.get(path)?.dtype ?? declaredAs), shape)))),
      }))
    },
  }
}

/** The parameters less the updates, each rounded to its own dtype once, where parameters rest. @throws DimError where the trees differ */
export const applyUpdates = <P extends Tree>(params: P, updates: NoInfer<P>): P =>
  onCallersLine(() => zipTrees(params, updates, (p, u) => asState(p).cast(u.dtype).sub(u).cast(p.dtype).relayout('params')))
