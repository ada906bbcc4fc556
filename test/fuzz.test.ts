/** 500 programs drawn at random, on random meshes in random layouts: the numbers are the reference's. `npm run fuzz` runs as many as one likes. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as engine from '../src/engine/index.ts'
import * as language from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { isLegal, shown, verdict } from './fuzz/check.ts'
import { drawn, meshes, type Drawn } from './fuzz/program.ts'
import { registry } from './fuzz/registry.ts'

const seed = Number(process.env['SEED'] ?? 1)

describe.each([{ plugin: 'simulate' }, { plugin: 'cpu' }])('$plugin', ({ plugin }) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })

  // The compiler takes seconds for a program, however small: it gets several of them as one.
  if (plugin === 'cpu') {
    // Gradients that ask which element the extremum is: what XLA computes twice may differ in its last bit.
    const asking = new Set(['max', 'min', 'maxPool', 'minPool', 'cummax', 'cummin', 'scatter', 'sort', 'sortWith', 'argsort', 'argmax', 'argmin', 'categorical', 'topK', 'nth', 'median'])
    const names = Object.keys(registry)
    test.each([0, 2, 4, 6])('mesh %i', async n => {
      const programs = fc.sample(drawn, { numRuns: 12, seed: seed + n }).map((p): Drawn => ({ ...p, mesh: n, steps: p.steps.filter(s => !asking.has(names[s.op % names.length] ?? '')).slice(0, 8), params: null, state: null, named: null, seed: p.seed | 1 })).filter(isLegal).slice(0, 6)
      expect(programs.length).toBe(6)
      const { wrong, refused } = await verdict(programs, backend)
      expect([wrong, refused], programs.map(shown).join('\n\n')).toEqual([undefined, undefined])
    }, 300_000)
    return
  }
  test('random programs', async () => {
    const called = new Set<string>()
    let refused = 0
    const result = await fc.check(fc.asyncProperty(drawn, async p => {
      const found = await verdict([p], backend)
      for (const c of found.calls) called.add(c)
      if (found.refused === true) refused++
      if (found.wrong !== undefined) throw new Error(found.wrong)
    }), { numRuns: Number(process.env['RUNS'] ?? 500), seed })
    const [smallest] = result.counterexample ?? []
    if (smallest !== undefined) throw new Error(`seed ${seed}: ${result.errorInstance instanceof Error ? result.errorInstance.message : ''}\n${shown(smallest)}`)
    // Layouts that are refused test nothing but that.
    expect(refused).toBeLessThan(100)
    expect(Object.keys(registry).filter(name => !called.has(name))).toEqual([])
  }, 600_000)
})

test('random programs call every function of the language', () => {
  // What gives values, runs programs or talks about them, and what is called with every program.
  const others = ['DataError', 'DimError', 'FileError', 'LayoutError', 'MeshworkError', 'PluginError', 'UsageError', 'MeshArray', 'collectives', 'compile', 'dim', 'dims', 'fold', 'full', 'input', 'iota', 'keyOf', 'layout',
    'mapTree', 'mesh', 'openBackend', 'param', 'place', 'plan', 'print', 'printLocal', 'slot', 'totals', 'zipTrees', 'causalAttention']
  const functions = [...Object.keys(language), ...Object.keys(nn)].filter(name => !others.includes(name))
  expect(functions.filter(name => !(name in registry))).toEqual([])
  expect(others.filter(name => !(name in language) && !(name in nn) && !(name in engine))).toEqual([])
  expect(meshes.length).toBeGreaterThan(5)
})
