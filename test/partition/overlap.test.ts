/** Collectives that are under way while a device computes: each is begun once its operand is there and awaited before it is read, in every form; loops begin the gathers of the next turn. */
import { describe, expect, test } from 'vitest'
import type { Mesh } from '../../src/core/mesh.ts'
import { dims, input, mesh as meshOf, param, plan, type Layouts } from '../../src/engine/index.ts'
import { bodiesOf, reachable } from '../../src/graph/node.ts'
import { gpt } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { collectiveKind } from '../../src/partition/collectives.ts'
import type { LocalBody, LocalNode } from '../../src/partition/local.ts'
import { canFly, gathersAhead, scheduled, sumsLate } from '../../src/partition/overlap.ts'
import { overlapsOf } from '../../src/runtime/job.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'

const [layers, n] = [4, 4]
const model = gpt({ vocab: 64, seq: 32, layers, embed: 128, heads: 4, headDim: 32, hidden: 512, dropout: 0 }, 8)
const config = { seed: 0, remat: 'all-but-contractions', optimizer: adamw({ rate: 1e-3 }) } as const
type Form = Layouts & { readonly mesh: { readonly [axis: string]: number }; readonly wire?: { readonly data: 'bf16' | 'int8' } }
const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const forms: { readonly [form: string]: Form } = {
  'data': { mesh: { data: n }, layout: { batch: 'data' } },
  'FSDP': { mesh: { data: n }, layout: { batch: 'data' }, params: { embed: 'data' } },
  'FSDP, fewer bits': { mesh: { data: n }, layout: { batch: 'data' }, params: { embed: 'data' }, wire: { data: 'bf16' } },
  'FSDP, eight bits': { mesh: { data: n }, layout: { batch: 'data' }, params: { embed: 'data' }, wire: { data: 'int8' } },
  'ZeRO-1': { mesh: { data: n }, layout: { batch: 'data' }, state: { embed: 'data' } },
  'hybrid': { mesh: { replica: 2, shard: 2 }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' } },
  'tensor': { mesh: { model: n }, layout: tensor },
  'sequence × tensor': { mesh: { model: n }, layout: tensor, layouts: { residual: { from: 'compute', seq: 'model' } } },
}
const planned = ({ mesh, ...layouts }: Form, overlaps: boolean) => plan(trainStep(model, config), [stateOf(model, config), model.batch] as const, { mesh: meshOf(mesh), dims: model.dims, ...layouts, devicesAs: 'ranks', overlaps })

/** Every body of a program, itself first. */
const bodies = (body: Pick<LocalBody, 'outputs'>): readonly Pick<LocalBody, 'outputs'>[] => [body, ...reachable(body.outputs).flatMap(n => bodiesOf(n).flatMap(bodies))]
const scans = (body: Pick<LocalBody, 'outputs'>): LocalNode<'scan'>[] => bodies(body).flatMap(b => reachable(b.outputs).filter(n => n.op === 'scan'))

/** Follows an order, and throws where something is read that is not there yet. Gives how many collectives are in two calls, with work named between. */
function follow(body: Pick<LocalBody, 'outputs'>, mesh: Mesh): number {
  const steps = scheduled(body.outputs, mesh, { given: new Set(reachable(body.outputs).filter(m => m.op === 'input')), started: new Set(), late: new Set() })
  const [there, begun] = [new Set<LocalNode>(reachable(body.outputs).filter(m => m.op === 'input')), new Map<LocalNode, number>()]
  const ran = new Map<LocalNode, number>()
  let apart = 0
  for (const [at, step] of steps.entries()) {
    if ('wait' in step) {
      const start = begun.get(step.wait) ?? NaN
      expect(start).toBeLessThan(at)
      for (const h of step.after) expect(ran.get(h)).toBeGreaterThan(start)
      expect(step.after.length).toBeGreaterThan(0)
      expect(there).not.toContain(step.wait)
      there.add(step.wait)
      apart++
      continue
    }
    const node = 'run' in step ? step.run : step.start
    for (const i of node.inputs) if (!there.has(i)) throw new Error(`${node.op} reads ${i.op}, which is not there`)
    if ('run' in step) {
      there.add(node)
      ran.set(node, at)
    } else begun.set(node, at)
  }
  expect(there.size).toBe(reachable(body.outputs).length)
  return apart
}

describe.each(Object.entries(forms))('%s', (_, form) => {
  const { local } = planned(form, true)
  test('nothing is read before it is there, and each collective is begun once', () => { for (const body of bodies(local)) follow(body, local.mesh) })
  test('as many bytes cross as without', () => {
    const bytes = (overlaps: boolean): number => planned(form, overlaps).collectives.reduce((sum, c) => sum + c.count * c.bytes, 0)
    // In blocks of eight bits a layer's last block is filled up.
    expect(bytes(true) / bytes(false)).toBeCloseTo(1, form.wire?.data === 'int8' ? 2 : 12)
  })
})

test('a tensor-parallel layer sums the cotangent of its input while it makes its weights\' gradients', () => {
  const { local } = planned(forms['tensor'] as Form, true)
  const backward = scans(local).find(s => s.attrs.reverse)
  expect(follow(backward?.attrs.body ?? local, local.mesh)).toBeGreaterThanOrEqual(1)
})

test('what nothing can be computed beside stays one call', () => {
  const d = dims({ batch: 64, embed: 256, hidden: 256 })
  const f = (x: ReturnType<typeof given>, w: ReturnType<typeof weights>) => x.dot(w, d.embed).square().sum()
  const given = () => input('x', [d.batch, d.embed])
  const weights = () => param('w', [d.embed, d.hidden])
  const { text } = plan(f, [given(), weights()] as const, { mesh: meshOf({ data: 2 }), layout: { embed: 'data' }, devicesAs: 'ranks', overlaps: true })
  expect(text).toContain('meshwork.all_reduce')
  expect(text).not.toContain('meshwork.start')
})

describe('loops', () => {
  test('FSDP gathers a layer ahead, forward and backward, and no more often: a gather before the loop, and none in its last turn', () => {
    const form = forms['FSDP'] as Form
    const { local, collectives, text } = planned(form, true)
    expect(collectives.map(c => `${c.kind} ${c.axes.join()} ${c.count} ${c.bytes}`).sort()).toEqual(planned(form, false).collectives.map(c => `${c.kind} ${c.axes.join()} ${c.count} ${c.bytes}`).sort())
    const loops = scans(local)
    expect(loops).toHaveLength(2)
    for (const loop of loops) {
      const gathers = reachable(loop.attrs.body.outputs).filter(m => m.op === 'allGather')
      expect(gathers.length).toBeGreaterThan(2)
      expect(gathersAhead(loop)).toEqual(gathers)
    }
    // Of each gather one start before its loop, and one in it that runs where another turn comes: it has one more operand, that says so.
    const starts = text.split('\n').filter(line => line.includes('"meshwork.start"') && line.includes('all-gather'))
    const ahead = loops.reduce((sum, loop) => sum + gathersAhead(loop).length, 0)
    expect(starts.filter(line => /tensor<i1>/.test(line))).toHaveLength(ahead)
    expect(starts.filter(line => !/tensor<i1>/.test(line))).toHaveLength(ahead)
  })
  // Between replicas what was scattered is summed: that waits for the scatter in its own turn.
  test.each(['data', 'FSDP', 'hybrid', 'ZeRO-1'] as const)('%s: a layer\'s gradients are summed while the next layer\'s are made', name => {
    const { local } = planned(forms[name] as Form, true)
    const late = scans(local).flatMap(s => sumsLate(s))
    expect(late.length).toBeGreaterThanOrEqual(4)
    for (const { node } of late) expect(collectiveKind(node)).toBe(name === 'data' || name === 'hybrid' ? 'all-reduce' : 'reduce-scatter')
  })
  test('what the next turn needs is not put off', () => {
    const { local } = planned(forms['sequence × tensor'] as Form, true)
    for (const loop of scans(local)) {
      const carried = new Set(reachable(loop.attrs.body.outputs.slice(0, loop.attrs.carries)))
      for (const { node } of sumsLate(loop)) expect(carried).not.toContain(node)
    }
  })
  test('every collective of a program can be begun but extrema', () => {
    const { local } = planned(forms['tensor'] as Form, true)
    for (const body of bodies(local)) for (const m of reachable(body.outputs)) if (collectiveKind(m) !== undefined) expect(canFly(m)).toBe(m.op !== 'allReduce' || m.attrs.kind === 'sum')
  })
})

test('it is for ranks on several hosts, unless said, and for an MPI that several threads may call', () => {
  expect(overlapsOf({}, ['a', 'a'], true)).toBe(false)
  expect(overlapsOf({}, ['a', 'b'], true)).toBe(true)
  expect(overlapsOf({ MESHWORK_MPI_OVERLAP: '1' }, ['a', 'a'], true)).toBe(true)
  expect(overlapsOf({ MESHWORK_MPI_OVERLAP: '0' }, ['a', 'b'], true)).toBe(false)
  expect(overlapsOf({ MESHWORK_MPI_OVERLAP: '1' }, ['a', 'b'], false)).toBe(false)
  expect(() => overlapsOf({ MESHWORK_MPI_OVERLAP: 'yes' }, ['a'], true)).toThrow('UsageError[environment] MESHWORK_MPI_OVERLAP is "yes"\n  fix  1 or 0; unset, it is 1 where ranks lie on several hosts')
})
