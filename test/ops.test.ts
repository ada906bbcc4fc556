/** Every case on every mesh, in every legal layout, forward and gradient, on each backend, against the reference evaluator. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mesh } from '../src/core/mesh.ts'
import { openBackend, type Backend } from '../src/engine/index.ts'
import { wrongOn } from './support/op-table.ts'

const meshes = [{ x: 1 }, { x: 2 }, { x: 4 }, { x: 2, y: 2 }, { x: 2, y: 4 }, { x: 2, y: 2, z: 2 }]
// The simulator runs the very text that is compiled, in every layout; compiling takes minutes, so XLA gets some of them for each
// case and mesh, or all with MESHWORK_LAYOUTS=all.
const backends = [{ plugin: 'simulate', most: Infinity }, { plugin: 'cpu', most: process.env['MESHWORK_LAYOUTS'] === 'all' ? Infinity : 2 }]

describe.each(backends)('$plugin', ({ plugin, most }) => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 8, cache: false }) })
  afterAll(async () => { await backend.close() })

  test.each(meshes)('mesh %j', async sizes => {
    expect(await wrongOn(mesh(sizes), backend, most)).toEqual([])
  }, 600_000)
})
