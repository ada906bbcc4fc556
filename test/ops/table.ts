/** The op table as tests: cases in one layout each, drawn by a fixed seed, a few of them in one program. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import type { PlatformName } from '../../src/core/platform.ts'
import { cases, everyCase } from '../cases/index.ts'
import { found } from '../mpi/support.ts'
import { meshText, type MeshSizes } from '../support/again.ts'
import { drawnTrial, meshes, programsOf, wrongIn } from '../support/op-table.ts'
import { seedOf } from '../support/values.ts'

/** What `npm test` draws by. `npm run test:deep` takes every layout. */
export const fixedSeed = 1

const several = meshes.filter(sizes => Object.values(sizes).some(n => n > 1))
/** Of the meshes of several devices, the one on which a case runs where one has to do. */
export const meshOfCase = (name: string): MeshSizes => several[seedOf(`${name} on a mesh`) % several.length] ?? {}

/** Whether a case is compiled for four ranks: an eighth of them, by XLA as well, so that one process leaves them out. Without an MPI there are no ranks; of those that are asked for by name, none is left out. */
export const overRanks = (name: string): boolean => found.length > 0 && cases.length === everyCase.length && seedOf(`${name} on ranks`) % 8 === 0

/** Tests of one backend: the cases that `takes` picks for each mesh, `perProgram` of them in one program, which is written for `platform` where that is said. */
export function tableTests(plugin: 'simulate' | 'cpu', perProgram: number, takes: (name: string, sizes: MeshSizes) => boolean, platform?: PlatformName): void {
  describe(platform === undefined ? plugin : `${plugin}, written for ${platform}`, () => {
    let backend: Backend
    beforeAll(async () => {
      const opened = await openBackend({ plugin, devices: 8, cache: false })
      backend = platform === undefined ? opened : Object.assign(Object.create(opened) as Backend, { lowering: { platform, contractions: 'f32' } })
    })
    afterAll(async () => { await backend.close() })

    const pieces = meshes.flatMap(sizes => programsOf(cases.filter(c => takes(c.name, sizes)).map(({ name }) => ({ name, layout: {} })), perProgram).map(some => ({ sizes, names: some.map(t => t.name) })))
    test.each(pieces.map(p => [meshText(p.sizes), p.names.join(', '), p] as const))('mesh %s: %s', async (_mesh, _names, { sizes, names }) => {
      expect(await wrongIn(names.map(name => drawnTrial(name, sizes, fixedSeed)), sizes, backend, plugin)).toEqual([])
    })
    // Where a filter leaves no case to this file, that is no failure.
    if (pieces.length === 0) test('no case matches', () => { expect(process.env['MESHWORK_CASES']).toBeDefined() })
  })
}
