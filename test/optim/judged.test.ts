/** Optimizers step by step, weights and slots, against optax, PyTorch and copies of papers: by the reference, on one device, and on 2×2 with slots in parts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, input, leavesOf, mesh, openBackend, type Backend, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { typeOf, type Node } from '../../src/graph/node.ts'
import { evaluate } from '../../src/graph/reference/evaluate.ts'
import { valueOf } from '../../src/graph/reference/values.ts'
import { treeOps } from '../../src/core/tree.ts'
import { adafactor, adagrad, adamw, applyUpdates, averageParameters, chain, clipByGlobalNorm, clipByValue, lamb, lion, muon, piecewise, rmsprop, sgd, type Optimizer } from '../../src/optim/index.ts'
import { d, distance, expectedOf, firstValues, gradientInputs, gradientsAt, judged, kept, parameters, type Size } from './problem.ts'

interface Case { readonly optimizer: Optimizer; readonly size?: Size; readonly start?: number; readonly limit?: number }
/** By the names of the oracle's cases. */
const cases: { readonly [name: string]: Case } = {
  adamw: { optimizer: adamw({ rate: 1e-2, beta2: 0.99, weightDecay: 0.1 }) },
  'adamw from 9,990': { optimizer: adamw({ rate: 1e-2, beta2: 0.9999, weightDecay: 0.1 }), start: 9990 },
  'adamw clipped by norm': { optimizer: chain(clipByGlobalNorm(1.5), adamw({ rate: 1e-2, epsilon: 1e-3, weightDecay: 0 })) },
  sgd: { optimizer: sgd({ rate: 0.05, momentum: 0.9, weightDecay: 0.1 }) },
  'sgd by nesterov, clipped by value, on a schedule': { optimizer: chain(clipByValue(0.5), sgd({ rate: piecewise([{ from: 0, rate: 0.05 }, { from: 3, rate: 0.025 }]), momentum: 0.9, nesterov: true })) },
  lion: { optimizer: lion({ rate: 1e-2, weightDecay: 0.1 }) },
  adagrad: { optimizer: adagrad({ rate: 0.1 }) },
  'adagrad from nothing': { optimizer: adagrad({ rate: 0.1, initial: 0, epsilon: 0 }) },
  rmsprop: { optimizer: rmsprop({ rate: 1e-2 }) },
  'rmsprop as torch': { optimizer: rmsprop({ rate: 1e-2, decay: 0.99, epsilon: 1e-6, root: 'outside', momentum: 0.9 }) },
  lamb: { optimizer: lamb({ rate: 1e-2, weightDecay: 0.1 }) },
  // Neither torch nor optax knows of stacked dims: there k is one tensor.
  'adafactor as torch': { optimizer: adafactor({ dims: 'last', stacked: [] }) },
  'adafactor as torch, from 9,995': { optimizer: adafactor({ dims: 'last', stacked: [] }), start: 9995 },
  'adafactor as optax': { optimizer: adafactor({ rate: 0.05, atLeast: 1, stacked: [], beta1: 0.9 }) },
  'adafactor of 128 and less': { optimizer: adafactor({ rate: 0.05 }), size: 'large' },
  'adafactor as the paper': { optimizer: adafactor({ atLeast: 1 }) },
  muon: { optimizer: muon({ rate: 0.02, weightDecay: 0.1, matrices: ['w', 'k'], adamw: { rate: 1e-2, weightDecay: 0 } }), limit: 1e-4 },
  'muon with AdamW\'s rates': { optimizer: muon({ rate: 1e-3, adjust: 'match-rms-adamw', matrices: p => p.shape.length > 1, adamw: { rate: 1e-2, weightDecay: 0 } }), limit: 1e-4 },
  'an average': { optimizer: chain(sgd({ rate: 0.1 }), averageParameters({ decay: 0.99 })) },
}

const arrays = treeOps((x): x is MeshArray => typeof x === 'object' && x !== null && 'read' in x, 'an array')
const programOf = ({ optimizer, size = 'small' }: Case) => {
  const params = parameters(size)
  const args = [params, optimizer.slots(params), gradientInputs(size), input('step', [], 'i32')] as const
  const step = (params: (typeof args)[0], slots: Tree, grads: (typeof args)[0], at: (typeof args)[3]) => {
    const { updates, slots: next } = optimizer.update(grads, slots, params, at)
    return { params: applyUpdates(params, updates), slots: next }
  }
  const init = (params: (typeof args)[0]): Tree => optimizer.init(params)
  return { args, step, init }
}

test('every case of the oracle is tried, and nothing else', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(judged.optimizers).sort()))

/** All that ours has and all that the judge has, after each step. But for the counter of an average, these are the same things. */
function compare(name: string, step: number, found: ReadonlyMap<string, ArrayLike<number>>, limit: number): void {
  const expected = expectedOf(judged.optimizers[name]?.[step] ?? { params: {}, slots: {} })
  expect([...found.keys()].filter(path => path !== 'slots.averaged').sort(), name).toEqual([...expected.keys()].sort())
  for (const [path, numbers] of expected) expect(distance(kept(found.get(path) ?? []), numbers), `${name}: ${path} after step ${step}`).toBeLessThanOrEqual(limit)
}

describe('the reference evaluator, in f64', () => {
  test.each(Object.entries(cases).map(([name, c]) => [name, c] as const))('%s', (name, c) => {
    const { args, step, init } = programOf(c)
    const { size = 'small', start = 0, limit = 1e-6 } = c
    const inputs = leavesOf(args).map(l => l.leaf.node).filter((n): n is Node<'input'> => n.op === 'input')
    const run = (outputs: Tree, given: readonly ArrayLike<number>[], of = inputs): Map<string, ArrayLike<number>> => {
      const leaves = leavesOf(outputs)
      const values = evaluate({ inputs: of, outputs: leaves.map(l => l.leaf.node) }, of.map((n, i) => valueOf(typeOf(n), given[i] ?? [])))
      return new Map(leaves.map((l, i) => [l.path, values[i]?.data ?? []]))
    }
    let params = Object.values(firstValues(size))
    let slots: ArrayLike<number>[] = [...run(init(args[0]), params, inputs.slice(0, params.length)).values()]
    const result = step(...args)
    for (let i = 0; i < (judged.optimizers[name]?.length ?? 0); i++) {
      const found = run(result, [...params, ...slots, ...Object.values(gradientsAt(size, i)), [start + i]])
      compare(name, i, found, Math.min(limit, 1e-6))
      const all = [...found.values()] as Float64Array[]
      ;[params, slots] = [all.slice(0, params.length), all.slice(params.length)]
    }
  })
})

describe.each([
  ['one device', {}, {}],
  ['2×2, slots in parts, parameters in others', { x: 2, y: 2 }, { params: { out: 'x', larger: 'x' }, state: { in: 'x', out: 'y', wide: 'y', large: 'x', larger: 'y' } }],
] as const)('%s', (_, axes, layouts) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
  afterAll(async () => { expect(backend.liveBuffers()).toBe(0); await backend.close() })

  test.each(Object.entries(cases).map(([name, c]) => [name, c] as const))('%s', async (name, c) => {
    const { args, step, init } = programOf(c)
    const { size = 'small', start = 0, limit = 1e-5 } = c
    const where = { mesh: mesh(axes), layout: {}, ...layouts, backend, dims: d }
    using begin = await compile((params: (typeof args)[0]) => ({ params: params, slots: init(params) }), [args[0]], where)
    using program = await compile(step, args, { ...where, donate: [0, 1] })
    const single = (x: { readonly [name: string]: Float64Array }): { [name: string]: Float32Array } => Object.fromEntries(Object.entries(x).map(([k, v]) => [k, Float32Array.from(v)]))
    let state = await begin(single(firstValues(size)))
    for (let i = 0; i < (judged.optimizers[name]?.length ?? 0); i++) {
      state = await program(state.params, state.slots as never, single(gradientsAt(size, i)), start + i)
      const found = new Map(await Promise.all(arrays.flatten(state).map(async ({ path, leaf }) => [path, Array.from(await leaf.read(), Number)] as const)))
      compare(name, i, found, limit)
    }
    for (const { leaf } of arrays.flatten(state)) leaf.dispose()
  })
})
