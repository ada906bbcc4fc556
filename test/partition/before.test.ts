/** What a rule gave is given again where its operands lie as they did, with all that it noted; and what is equal is one. */
import { expect, test } from 'vitest'
import { dims, input } from '../../src/engine/index.ts'
import type { Node } from '../../src/graph/node.ts'
import { Before } from '../../src/partition/before.ts'
import type { Context, Value } from '../../src/partition/context.ts'
import type { LocalNode } from '../../src/partition/local.ts'

const { a } = dims({ a: 4 })
const x = input('x', [a])
const [n, other] = [x.exp().node, x.node]
/** It lies nowhere, and stands for itself. */
const value = (of: Node): Value => ({ shape: [a], node: of as unknown as LocalNode, sharding: new Map([['a', ['model']]]) })

function asked(): { readonly before: Before; readonly ask: (operands: readonly Value[]) => readonly Value[]; readonly times: () => number } {
  const before = new Before()
  const c = { before, reduced: before.reduced, tempted: before.tempted } as unknown as Context
  let times = 0
  const ask = (operands: readonly Value[]): readonly Value[] => before.results(n, operands, c, () => {
    times++
    c.reduced.add(other)
    c.tempted.add('a use')
    return [value(n)]
  })
  return { before, ask, times: () => times }
}

test('the same operands ask no more, and note what was noted', () => {
  const { before, ask, times } = asked()
  const given = value(other)
  const [first] = ask([given])
  before.reduced.delete(other)
  before.tempted.clear()
  expect(ask([given])[0]).toBe(first)
  expect(times()).toBe(1)
  expect([...before.reduced]).toEqual([other])
  expect([...before.tempted]).toEqual(['a use'])
})

test('other operands ask, and what comes out equal is the same value', () => {
  const { ask, times } = asked()
  const [first] = ask([value(other)])
  expect(ask([value(other)])[0]).toBe(first)
  expect(times()).toBe(2)
})

test('equal values from elsewhere are one; those whose dims lie in another order are not', () => {
  const before = new Before()
  const c = { before, reduced: before.reduced, tempted: before.tempted } as unknown as Context
  const lying = (...dims: readonly string[]): Value => ({ ...value(other), sharding: new Map(dims.map(name => [name, [name]])) })
  const [first] = before.given(other, [lying('a', 'b')], c)
  expect(before.given(other, [lying('a', 'b')], c)[0]).toBe(first)
  expect(before.given(other, [lying('b', 'a')], c)[0]).not.toBe(first)
})

test('bodies of the same nodes are one', () => {
  const before = new Before()
  const body = (): { readonly inputs: readonly LocalNode<'input'>[]; readonly outputs: readonly LocalNode[] } => ({ inputs: [other as unknown as LocalNode<'input'>], outputs: [n as unknown as LocalNode] })
  expect(before.body(body())).toBe(before.body(body()))
})
