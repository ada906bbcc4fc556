/** Arithmetic of meshes and splits: which device holds which part, and who talks to whom. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dims } from '../../src/core/dim.ts'
import { hostArray } from '../../src/core/dtype.ts'
import { localShape, shardingOf, type Sharding } from '../../src/core/layout.ts'
import { rulesOf } from '../../src/core/named-layouts.ts'
import { formatMesh, mesh, partOf, partsOf, replicaGroups, strideOf } from '../../src/core/mesh.ts'
import { blockOf, cut, holders, paste } from '../../src/engine/blocks.ts'
import { layoutsOf } from '../support/layouts.ts'

const grid = mesh({ batch: 2, model: 3 })

describe('a mesh', () => {
  test('numbers its devices row-major', () => {
    expect(grid.size).toBe(6)
    expect([strideOf(grid, 'batch'), strideOf(grid, 'model')]).toEqual([3, 1])
    expect(Array.from({ length: 6 }, (_, i) => [partOf(grid, ['batch'], i), partOf(grid, ['model'], i)])).toEqual([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])
    expect(formatMesh(grid)).toBe('batch=2 × model=3')
  })
  test('groups those that differ only along the axes, ordered by their part', () => {
    expect(replicaGroups(grid, ['model'])).toEqual([[0, 1, 2], [3, 4, 5]])
    expect(replicaGroups(grid, ['batch'])).toEqual([[0, 3], [1, 4], [2, 5]])
    expect(replicaGroups(grid, ['batch', 'model'])).toEqual([[0, 1, 2, 3, 4, 5]])
    expect(replicaGroups(grid, ['model', 'batch'])).toEqual([[0, 3, 1, 4, 2, 5]])
    expect(replicaGroups(grid, [])).toEqual([[0], [1], [2], [3], [4], [5]])
  })
  test('of one device has one group', () => {
    expect(mesh({}).size).toBe(1)
    expect(replicaGroups(mesh({}), [])).toEqual([[0]])
    expect(formatMesh(mesh({}))).toBe('one device')
  })
})

describe('rules', () => {
  test('of a role start from those before', () => {
    const all = { layout: { a: 'x', b: 'y' }, params: { b: undefined, c: 'x' }, state: { a: 'z' } } as const
    expect(rulesOf(all, 'compute')).toEqual({ a: 'x', b: 'y' })
    expect(rulesOf(all, 'params')).toEqual({ a: 'x', b: undefined, c: 'x' })
    expect(rulesOf(all, 'state')).toEqual({ a: 'z', b: undefined, c: 'x' })
  })
  test('axes of size 1 and dims without a rule are whole', () => {
    const { a, b } = dims({ a: 4, b: 5 })
    expect([...shardingOf({ a: ['one', 'x'], b: 'one' }, mesh({ one: 1, x: 2 }), [a, b], 't')]).toEqual([['a', ['x']]])
    expect(localShape([a, b], new Map([['a', ['x']]]), mesh({ x: 2 }))).toEqual([{ name: 'a', size: 2 }, b])
  })
})

describe('cutting and pasting', () => {
  const meshes = [mesh({ x: 1 }), mesh({ x: 2 }), mesh({ x: 2, y: 2 }), mesh({ x: 2, y: 4 }), mesh({ x: 2, y: 2, z: 2 })]
  const shape = Object.values(dims({ a: 8, b: 4, c: 2 }))
  const legal = meshes.flatMap(m => layoutsOf(shape, m).flatMap((layout): { readonly m: typeof m; readonly sharding: Sharding }[] => {
    try { return [{ m, sharding: shardingOf(layout, m, shape, 't') }] } catch { return [] }
  }))

  test('the parts of any layout make the whole again, each element once', () => {
    expect(legal.length).toBeGreaterThan(100)
    fc.assert(fc.property(fc.constantFrom(...legal), fc.constantFrom('f32', 'i32', 'bf16', 'u8'), ({ m, sharding }, dtype) => {
      const whole = hostArray(dtype, 64)
      for (let i = 0; i < 64; i++) whole[i] = i as never
      const again = hostArray(dtype, 64)
      const from = holders(shape, sharding, m)
      for (const device of from) paste(again, cut(whole, dtype, shape, blockOf(shape, sharding, m, device)), dtype, shape, sharding, m, device)
      expect([...again]).toEqual([...whole])
      expect(from.length).toBe(partsOf(m, [...sharding.values()].flat()))
    }), { numRuns: 300, seed: 1 })
  })
  test('devices that differ along no axis of the sharding hold the same', () => {
    const m = mesh({ x: 2, y: 2 })
    const sharding = new Map([['a', ['y']]])
    const whole = Float32Array.from({ length: 64 }, (_, i) => i)
    const parts = [0, 1, 2, 3].map(device => [...cut(whole, 'f32', shape, blockOf(shape, sharding, m, device))])
    expect(parts[0]).toEqual(parts[2])
    expect(parts[1]).toEqual(parts[3])
    expect(parts[0]).not.toEqual(parts[1])
  })
})
