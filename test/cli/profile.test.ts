/** `meshwork profile`: what ran, held against what the plan said before anything ran. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { drawProfile, rowsOf } from '../../src/cli/profile-picture.ts'
import type { Profile, ProfiledPart } from '../../src/train/profile.ts'
import { openServer, run, small, temporaryPlace, text, type Ended } from './support.ts'

const place = temporaryPlace()
const server = openServer()
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path })
place.file('text.txt', text)
const flags = [...small, 'model.embed=64', 'model.heads=4', 'model.headDim=16', 'model.hidden=128', '--data', 'text.txt', '--batch', '2', '--model', '2']

afterAll(() => { place.remove() })

interface Planned { readonly perDevice: { readonly flops: number }; readonly collectives: readonly { readonly kind: string; readonly axes: readonly string[]; readonly count: number; readonly bytes: number }[] }
interface Traced { readonly name: string; readonly ph: string; readonly pid: number; readonly tid: number; readonly ts: number; readonly dur: number; readonly args: { readonly line?: string; readonly name?: string } }

describe('profile', () => {
  it('finds what the plan has counted, and writes a trace', async () => {
    const { code, out, err } = await run(['profile', 'gpt-tiny', ...flags, '--steps', '3', '--json', '--trace', 'trace.json'], { cwd: place.path })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const found = JSON.parse(out) as Omit<Profile, 'recorded'>
    const planned = JSON.parse((await meshwork('plan', 'gpt-tiny', ...flags.filter(f => f !== '--data' && f !== 'text.txt'), '--json')).out) as Planned
    expect(found).toMatchObject({ mesh: { batch: 2, model: 2 }, devices: 4, steps: 3 })

    // What crosses the mesh is counted before by other code: as many bytes along the same axes. XLA makes one of several sums that do not wait for each other.
    const along = (list: readonly { readonly what: string; readonly bytes: number }[]): object => Object.fromEntries([...new Set(list.map(c => c.what))].sort().map(what => [what, list.filter(c => c.what === what).reduce((n, c) => n + c.bytes, 0)]))
    const sums = found.parts.filter(p => p.kind === 'collective')
    expect(along(sums.map(p => ({ what: `${p.op} ${p.axes.join()}`, bytes: p.bytes / 2 * p.times }))))
      .toEqual(along(planned.collectives.map(c => ({ what: `${c.kind} ${c.axes.join()}`, bytes: c.bytes * c.count }))))
    // So are products; XLA writes a few small ones as sums.
    const products = found.parts.reduce((n, p) => n + p.flops * p.times, 0)
    expect(products / planned.perDevice.flops).toBeGreaterThan(0.9)
    expect(products / planned.perDevice.flops).toBeLessThanOrEqual(1)
    expect(found.parts.filter(p => p.kind === 'contraction' && p.lines.some(l => /^models\/gpt\.ts:\d+$/.test(l))).length).toBeGreaterThan(5)
    expect(found.parts.map(p => p.ms)).toEqual(found.parts.map(p => p.ms).sort((a, b) => b - a))
    expect(found.busyMs).toBeLessThanOrEqual(found.parts.reduce((n, p) => n + p.ms, 0) * 1.0001)

    const { traceEvents } = JSON.parse(readFileSync(join(place.path, 'trace.json'), 'utf8')) as { readonly traceEvents: readonly Traced[] }
    expect(traceEvents.filter(e => e.ph === 'M').map(e => e.args.name)).toEqual(['host', 'device 0', 'device 1', 'device 2', 'device 3'])
    const steps = traceEvents.filter(e => e.ph === 'X' && e.pid === 0)
    expect(steps.map(s => s.name)).toEqual(['step 0', 'step 1', 'step 2'])
    const spans = traceEvents.filter(e => e.ph === 'X' && e.pid > 0)
    // The host has the loss as soon as one device has: others may be at their last parts.
    for (const s of spans) expect(steps.some(t => t.ts <= s.ts && s.ts <= t.ts + 2 * t.dur)).toBe(true)
    // In a lane one thing runs at a time.
    for (const lane of new Set(spans.map(s => `${s.pid} ${s.tid}`))) {
      spans.filter(s => `${s.pid} ${s.tid}` === lane).sort((a, b) => a.ts - b.ts).reduce((until, s) => { expect(s.ts).toBeGreaterThanOrEqual(until - 0.01); return s.ts + s.dur }, 0)
    }
    for (let device = 1; device <= 4; device++) expect(spans.filter(s => s.pid === device && s.name.startsWith('all-reduce')).length).toBe(3 * sums.reduce((n, p) => n + p.times, 0))
  })

  it('prints tables for people', async () => {
    const { code, out } = await meshwork('profile', 'gpt-tiny', ...small, '--data', 'text.txt', '--batch', '1', '--model', '1', '--steps', '1', '--top', '4')
    expect(code).toBe(0)
    expect(out).toMatch(/^gpt-tiny: a training step on batch 1 × model 1, 1 device, median of 1\n/)
    expect(out).toMatch(/\n {2}contraction +\S+ ms +\S+ % +\d+ +\S+ \w*FLOP\/s/)
    const table = out.slice(out.indexOf('by line')).trimEnd().split('\n').slice(2)
    expect(table).toHaveLength(5)
    expect(table[4]).toMatch(/\d+ more +--top all shows them$/)
  })
})

describe('the table by line', () => {
  const part = (over: Partial<ProfiledPart>): ProfiledPart => ({
    id: 0, name: 'x', op: 'dot', inside: [], lines: ['models/a.ts:1'], flops: 0, bytes: 0, sizes: [], target: '', groups: undefined, kind: 'contraction', axes: [], times: 1, ms: 1, ...over,
  })
  it('adds up parts of one line that do the same', () => {
    const rows = rowsOf([part({ flops: 10, times: 2 }), part({ id: 1, name: 'y', flops: 5, ms: 3, lines: ['models/a.ts:1', 'models/b.ts:2'] }), part({ id: 2, op: 'fusion', inside: ['tanh'] })])
    expect(rows).toEqual([
      { line: 'models/a.ts:1', what: 'dot', also: 1, ms: 4, times: 3, flops: 25, bytes: 0 },
      { line: 'models/a.ts:1', what: 'tanh', also: 0, ms: 1, times: 1, flops: 0, bytes: 0 },
    ])
  })
  it('has shares of the step, and what no part took', () => {
    const lines = drawProfile('mine', { mesh: { batch: 1 }, devices: 1, steps: 2, stepMs: 10, tracedMs: 20, flops: 1e9, peak: 200e9, busyMs: 15, hostMs: 1, recorded: [], parts: [part({ flops: 1e9, ms: 12 }), part({ op: 'all-reduce', kind: 'collective', axes: ['batch'], bytes: 8e6, ms: 4 })] }, 10)
    expect(lines.join('\n')).toMatchInlineSnapshot(`
      "mine: a training step on batch 1, 1 device, median of 2

        as it is trained         10.0 ms
        with clocks in it        20.0 ms  2.00 times that; what follows is of this one
        the model's products  1.00 GFLOP  100 GFLOP/s, 50.0 % of the best matrix multiplication here

      on each device, of a step
        kind of work                          time   share  times         speed     memory
        contraction                        12.0 ms  60.0 %      1  83.3 GFLOP/s
        collective                         4.00 ms  20.0 %      1                2.00 GB/s
        at the same time                  -1.00 ms  -5.0 %
        between parts                      4.00 ms  20.0 %
        before the first, after the last   1.00 ms   5.0 %

      by line
           time   share  times         speed     memory  what                    line
        12.0 ms  60.0 %      1  83.3 GFLOP/s             dot                     models/a.ts:1
        4.00 ms  20.0 %      1                2.00 GB/s  all-reduce along batch  models/a.ts:1"
    `)
  })
  it('writes long times out', () => {
    const [, , trained = '', traced = ''] = drawProfile('mine', { mesh: {}, devices: 1, steps: 1, stepMs: 1183.4, tracedMs: 999.6, flops: 1, peak: 1e9, busyMs: 999.6, hostMs: 0, recorded: [], parts: [part({ ms: 999.6 })] }, 10)
    expect([trained.trim(), traced.trim()]).toEqual([expect.stringMatching(/ 1,183 ms$/), expect.stringMatching(/ 1,000 ms /)])
  })
})
