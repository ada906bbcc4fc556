/** Every case on every mesh, in every legal layout, forward and gradient, on each backend, against the reference evaluator. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mesh } from '../src/core/mesh.ts'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { wrongOn } from './support/op-table.ts'

const meshes = [{ x: 1 }, { x: 2 }, { x: 4 }, { x: 2, y: 2 }, { x: 2, y: 4 }, { x: 2, y: 2, z: 2 }]
// A layout a round and case; the first rounds differ most between backends, so the compiled one runs fewer.
const backends = [{ plugin: 'simulate', rounds: 16 }, { plugin: 'cpu', rounds: 3 }]

describe.each(backends)('$plugin', ({ plugin, rounds }) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })

  test.each(meshes)('mesh %j', async sizes => {
    expect(await wrongOn(mesh(sizes), backend, rounds)).toEqual([])
  })
})
