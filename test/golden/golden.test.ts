/** The text of small programs at each stage, in which the collectives can be read. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { mesh, plan, print, printLocal, totals, type Layout, type Plan } from '../../src/engine/index.ts'
import { formatMesh } from '../../src/core/mesh.ts'
import { forCpu, type Lowering } from '../../src/core/platform.ts'
import { programs, type Golden } from './programs.ts'
import { expectGolden } from './support.ts'

const grid = mesh({ batch: 2, model: 2 })
const folder = fileURLToPath(new URL('text', import.meta.url))
const planned = (g: Golden, devicesAs: 'replicas' | 'ranks' = 'replicas', lowering: Lowering = forCpu): Plan => plan(g.f, g.args, { mesh: grid, ...g, devicesAs, lowering })
// As other processes see them: all-reduces; gathers and scatters in a loop, which hands the token round.
const onRanks = ['two-layer', 'fsdp-layers', 'cond', 'while']
// As a GPU gets them: contractions over dims as they lie, which say that nothing is rounded; a maximum that is one op.
const onCuda = ['two-layer-step', 'softmax', 'convolution']
// Lines of this test's own source say nothing here.
const withoutLines = (text: string): string => text.replace(/ loc\(.*\)$/gm, '').replace(/\bat = "[^"]*"/g, 'at = ""')

const rules = (l: Layout | undefined): string => Object.entries(l ?? {}).map(([dim, axes]) => `${dim} → ${String(axes)}`).join(', ')
const section = (title: string, text: string): string => `--- ${title}\n${text.trimEnd()}\n`

function textOf(g: Golden): string {
  const { graph, local, text, collectives } = planned(g)
  const layouts = [['layout', g.layout], ['params', g.params], ['state', g.state]] as const
  const header = [
    g.shows,
    `mesh: ${formatMesh(grid)}`,
    ...layouts.flatMap(([name, l]) => (l === undefined ? [] : [`${name}: ${rules(l)}`])),
    ...totals(collectives).map(c => `${c.kind} along ${c.axes.join(', ')}: ${c.count}, ${c.bytes} bytes`),
  ].join('\n')
  return [
    section(g.name, header),
    ...(g.everyStage ? [section('global graph', print(graph))] : []),
    section('program of a device', printLocal(local)),
    ...(g.everyStage ? [section('StableHLO', withoutLines(text))] : []),
    ...(onRanks.includes(g.name) ? [section('StableHLO on ranks', withoutLines(planned(g, 'ranks').text))] : []),
    ...(onCuda.includes(g.name) ? [section('StableHLO for cuda', withoutLines(planned(g, 'replicas', { platform: 'cuda', contractions: 'f32' }).text))] : []),
  ].join('\n')
}

describe('golden text', () => {
  test.each(programs.map(g => [g.name, g] as const))('%s', (name, g) => {
    expectGolden(`${folder}/${name}.txt`, textOf(g))
  })

  test('no golden file is left over', () => {
    expect(readdirSync(folder).sort()).toEqual(programs.map(g => `${g.name}.txt`).sort())
  })

  test('the text follows from the program alone, whatever was traced before', () => {
    const forwards = programs.map(g => planned(g).text)
    const backwards = programs.toReversed().map(g => planned(g).text).toReversed()
    expect(backwards).toEqual(forwards)
  })
})
