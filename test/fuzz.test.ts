/** Programs drawn at random, on random meshes in random layouts: the numbers are the reference's. `npm run fuzz` runs as many as one likes, `npm run test:deep` 20,000 new ones. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as engine from '../src/engine/index.ts'
import * as language from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import * as parallel from '../src/parallel/index.ts'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { drawn, meshes, ready } from './fuzz/program.ts'
import { registry } from './fuzz/registry.ts'
import { compiled, compiledMeshes, saidOf, search, together, wrongTogether } from './fuzz/search.ts'
import { all } from './support/depth.ts'

const seed = Number(process.env['SEED'] ?? 1)
const perTest = 20

describe.each([{ plugin: 'simulate' }, { plugin: 'cpu' }])('$plugin', ({ plugin }) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })

  if (plugin === 'cpu') {
    // Of two axes; `npm run test:deep` takes all.
    test.each(compiledMeshes.filter((_, i) => all || i === 1))('mesh %i', async n => {
      const programs = compiled(seed + n, n)
      expect(programs.length).toBe(together)
      const wrong = await wrongTogether(programs, backend)
      expect(wrong === undefined ? '' : `${wrong}\n  again: SEED=${seed} npx vitest run test/fuzz.test.ts -t 'cpu mesh ${n}'`).toBe('')
    })
    return
  }
  test.each([0, 1])(`${perTest} random programs, %i`, async i => {
    let refused = 0
    const found = await search(backend, seed + i, perTest, { onVerdict: v => { if (v.refused === true) refused++ } })
    expect(found === undefined ? '' : saidOf(found, perTest, plugin)).toBe('')
    // Layouts that are refused test nothing but that.
    expect(refused).toBeLessThan(perTest / 2)
  })
})

test('random programs call every function of the language', () => {
  const called = new Set<string>()
  for (const p of fc.sample(drawn, { numRuns: 500, seed })) {
    if (Object.keys(registry).every(name => called.has(name))) break
    const r = ready(p, registry)
    r.f(r.given)
    for (const c of r.calls) called.add(c)
  }
  expect(Object.keys(registry).filter(name => !called.has(name))).toEqual([])
  // What gives values, runs programs or talks about them, and what is called with every program.
  const others = ['DataError', 'DimError', 'FileError', 'LayoutError', 'MeshworkError', 'PluginError', 'UsageError', 'MeshArray', 'collectives', 'compile', 'decaysOf', 'dim', 'dims', 'fold', 'full', 'initialise', 'initialisers', 'input', 'iota', 'keyOf', 'layout',
    'mapTree', 'mesh', 'openBackend', 'param', 'place', 'plan', 'print', 'printLocal', 'slot', 'totals', 'zipTrees', 'causalAttention', 'freezeParams', 'seeing', 'areLayers', 'drawSchedule', 'idleShare', 'inLayers', 'inPlaces', 'intoPlaces', 'placesOf', 'planOf', 'ticksOf']
  const functions = [...Object.keys(language), ...Object.keys(nn), ...Object.keys(parallel)].filter(name => !others.includes(name))
  expect(functions.filter(name => !(name in registry))).toEqual([])
  expect(others.filter(name => !(name in language) && !(name in nn) && !(name in parallel) && !(name in engine))).toEqual([])
  expect(meshes.length).toBeGreaterThan(5)
})
