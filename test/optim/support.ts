/** Steps of an optimizer on numbers, by the reference evaluator. */
import { input, leavesOf, type Tensor, type Tree } from '../../src/engine/index.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { sizeOf } from '../../src/core/dim.ts'
import { applyUpdates, type Optimizer } from '../../src/optim/index.ts'
import { mapTree } from '../../src/engine/index.ts'

type Numbers = ReadonlyMap<string, readonly number[]>
const isInput = (n: Node): n is Node<'input'> => n.op === 'input'

/** The values of a tree's leaves by path, given those of the inputs of another. */
export function valuesIn(result: Tree, inputs: Tree, given: Numbers): Numbers {
  const [outputs, of] = [leavesOf(result), leavesOf(inputs)]
  const nodes = of.map(l => l.leaf.node).filter(isInput)
  const values = evaluate({ inputs: nodes, outputs: outputs.map(o => o.leaf.node) }, nodes.map((n, i) => valueOf(typeOf(n), given.get(of[i]?.path ?? '') ?? [])))
  return new Map(outputs.map((o, i) => [o.path, Array.from(values[i]?.data ?? [], Number)]))
}

/**
 * Parameters and slots after each of some steps: `params.w`, `slots.first.w`. `gradient` gives the numbers of a parameter at a step; what is first is 1, 2, 3 … tenths.
 */
export function steps(optimizer: Optimizer, params: Tree, count: number, gradient: (path: string, step: number, i: number) => number, first = (_: string, i: number): number => 0.1 * (i + 1)): readonly Numbers[] {
  const grads = mapTree(params, (p, path) => input(`g.${path}`, p.shape, p.dtype) as Tensor<string>)
  const slots = optimizer.slots(params)
  const args = { params, slots, grads, step: input('step', [], 'i32') }
  const { updates, slots: next } = optimizer.update(grads, slots, params, args.step)
  const result = { params: applyUpdates(params, updates), slots: next }
  const leaves = leavesOf(params).map(({ path, leaf }) => ({ path, size: sizeOf(leaf.shape) }))
  const numbers = (prefix: string, f: (path: string, i: number) => number): [string, number[]][] =>
    leaves.map(({ path, size }) => [path === '' ? prefix : `${prefix}.${path}`, Array.from({ length: size }, (_, i) => f(path, i))])
  let state = new Map([...numbers('params', first)])
  state = new Map([...state, ...valuesIn({ slots: optimizer.init(params) }, { params }, state)].map(([path, x]) => [path, [...x]]))
  const found: Numbers[] = []
  for (let step = 0; step < count; step++) {
    state = new Map([...valuesIn(result, args, new Map([...state, ...numbers('grads', (path, i) => gradient(path, step, i)), ['step', [step]]]))].map(([path, x]) => [path, [...x]]))
    found.push(state)
  }
  return found
}
