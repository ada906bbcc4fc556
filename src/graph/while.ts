/** Loops whose length the program finds out as it runs. */
import { formatShape } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { closeOver } from './close.ts'
import { inputNode } from './input.ts'
import { make } from './make.ts'
import { dtypeOf, shapeOf, typeOf, type Node } from './node.ts'
import { userSite } from '../core/site.ts'
import { sameState } from './state.ts'
import { isTensor, leavesOf, rebuildTree, tensor } from './tensor.ts'
import type { Scalar, Tree } from './types.ts'

const leafNode = (x: unknown): Node | undefined => (isTensor(x) ? x.node : undefined)

/**
 * The state after as many turns of `body` as `condition` holds before: `while (condition(state)) state = body(state)`. Its
 * gradient would need every turn's state, however many there are: it has none, and `scan` has.
 * @throws DimError when the condition is no bool scalar, or the state changes its form, dims or dtypes.
 */
export function whileLoop<S extends Tree>(condition: (state: NoInfer<S>) => Scalar, body: (state: NoInfer<S>) => NoInfer<S>, init: S): S {
  const carries = leavesOf(init).map(l => ({ path: l.path, node: l.leaf.node }))
  const params = carries.map(c => inputNode(`state.${c.path}`, 'compute', typeOf(c.node)))
  const state = rebuildTree(init, params.map(n => tensor(n)))
  const goesOn = leafNode(condition(state))
  if (goesOn === undefined || dtypeOf(goesOn) !== 'bool' || shapeOf(goesOn).length > 0) {
    throw new DimError({
      code: 'not-a-predicate', what: 'whileLoop: the condition must give a scalar of bool', details: { condition: goesOn === undefined ? 'no tensor' : `${dtypeOf(goesOn)} ${formatShape(shapeOf(goesOn))}` },
      fix: 'compare two scalars, or reduce over the dims', at: userSite(),
    })
  }
  const next = sameState('whileLoop', 'state', init, body(state))
  // One closure of both: they have the same inputs.
  const { body: { inputs, outputs: [test, ...outputs] }, captures } = closeOver(params, [goesOn, ...next])
  if (test === undefined || carries.length === 0) return init
  const loop = make('while', [...carries.map(c => c.node), ...captures], { condition: { inputs, outputs: [test] }, body: { inputs, outputs }, carries: carries.length })
  return rebuildTree(init, carries.map((_, index) => tensor(make('project', [loop], { index }))))
}
