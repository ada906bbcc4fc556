/** `meshwork plan`: what it prints, for people and for programs, and what it refuses. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tinyLlama } from '../support/tiny-models.ts'
import { openServer, root, small, temporaryPlace, text, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const plan = ['plan', 'gpt-tiny', ...small]
interface Collective { readonly kind: string; readonly axes: readonly string[]; readonly dtype: string; readonly bytes: number; readonly count: number; readonly at: string | null }
interface Plan { readonly devices: number; readonly mesh: object; readonly perDevice: Readonly<Record<string, number>>; readonly collectives: readonly Collective[]; readonly pipeline: null }
const planned = async (...args: readonly string[]): Promise<Plan> => {
  const { code, out, err } = await meshwork(...plan, '--json', ...args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return JSON.parse(out) as Plan
}

beforeAll(() => { server = openServer() })
afterAll(() => { place.remove() })

describe('plan', () => {
  it('prints one JSON object with what a step takes on each device', async () => {
    const whole = await planned('--batch', '1', '--model', '1')
    const { perDevice, collectives } = whole
    expect(Object.keys(whole)).toEqual(['devices', 'mesh', 'perDevice', 'collectives', 'pipeline'])
    expect(Object.keys(perDevice)).toEqual(['parameterBytes', 'stateBytes', 'activationBytes', 'peakBytes', 'flops'])
    // Two moments for each weight; the step, and what the guard has seen, are six numbers more.
    expect(whole).toMatchObject({ devices: 1, mesh: { batch: 1, model: 1 }, collectives: [], pipeline: null, perDevice: { stateBytes: 2 * (perDevice['parameterBytes'] ?? 0) + 24 } })
    expect(perDevice['peakBytes']).toBeGreaterThan((perDevice['parameterBytes'] ?? 0) * 3 + (perDevice['activationBytes'] ?? 0))
    expect(collectives).toEqual([])
    // With the host lie the moments; what is taken beside the rest is the room for one that comes and one that goes.
    const { perDevice: hosted } = await planned('--batch', '1', '--model', '1', '--set', 'slots=host')
    expect(hosted).toMatchObject({ stateBytes: 24, hostBytes: 2 * (perDevice['parameterBytes'] ?? 0), parameterBytes: perDevice['parameterBytes'] ?? 0 })
    expect((perDevice['peakBytes'] ?? 0) - (hosted['peakBytes'] ?? 0)).toBeGreaterThan((hosted['hostBytes'] ?? 0) / 4)
    // A number, of a field that is a word now.
    expect(await planned('--batch', '1', '--model', '1', '--set', 'model.blockwise=0')).toEqual(whole)
  })

  it('says of collectives what they are, how often, and the line', async () => {
    const { mesh, collectives, perDevice } = await planned('--batch', '2', '--model', '2')
    const one = await planned('--batch', '1', '--model', '1')
    expect(mesh).toEqual({ batch: 2, model: 2 })
    expect(perDevice['flops']).toBe((one.perDevice['flops'] ?? 0) / 4)
    for (const c of collectives) expect(Object.keys(c)).toEqual(['kind', 'axes', 'dtype', 'bytes', 'count', 'at'])
    // Two rows of 16 tokens of 16 numbers, forward and back, after attention and after the feed-forward part, of one layer.
    const model = collectives.filter(c => c.axes.join() === 'model' && c.bytes === 2 * 16 * 16 * 4)
    expect(model.reduce((n, c) => n + c.count, 0)).toBe(4 + 2)
    expect(model.map(c => [c.kind, c.dtype])).toEqual(model.map(() => ['all-reduce', 'f32']))
    expect(model.filter(c => /models\/gpt\.ts:\d+:\d+$/.test(c.at ?? ''))).toEqual(model)
  })

  it('takes rules for what rests: a part of it on each device, gathered where the line says', async () => {
    const two = ['--batch', '2', '--model', '1'] as const
    const [whole, parts, first] = [await planned(...two), await planned(...two, '--params', 'embed=batch'), await planned(...two, '--state', 'embed=batch')]
      .map(p => p.perDevice) as [Plan['perDevice'], Plan['perDevice'], Plan['perDevice']]
    // What has no dim `embed` is small.
    expect((parts['parameterBytes'] ?? 0) / (whole['parameterBytes'] ?? 1)).toBeCloseTo(0.5, 1)
    expect([first['parameterBytes'], first['stateBytes']]).toEqual([whole['parameterBytes'], parts['stateBytes']])
    const { collectives } = await planned(...two, '--params', 'embed=batch')
    expect(collectives.filter(c => c.kind === 'all-gather' && c.at === null)).toEqual([])
  })

  it('prints a table, each tensor where it is asked for, and two plans line by line', async () => {
    const { code, out, err } = await meshwork(...plan, '--batch', '2', '--model', '2', '--tensors')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const part of [
      /^gpt-tiny: 7,248 parameters on batch 2 × model 2, 4 devices$/m, /^ {2}parameters +[\d.]+ KB +\d+\.\d %$/m, /^ {2}all, at the peak +\d/m, /^ {2}on each device +[\d.]+ KFLOP$/m, /all scores, masked ones too$/m,
      /^ {2}computed again in the backward pass: everything between products, \d+\.\d % more$/m, /^ {2}all-reduce +model +f32 +[\d.]+ KB +\d ×/m, /^ {2}params\.blocks\.up +f32 +layers=1 embed=16 hidden=32 +hidden → model +1\.02 KB$/m, /^the largest values in memory/m,
    ]) expect(out).toMatch(part)
    const diff = await meshwork(...plan, '--batch', '2', '--model', '2', '--diff', '--mesh batch=4 --layout batch=batch')
    for (const part of [/^ +batch 2 × model 2 +batch 4$/m, /^devices +4 +4 +=$/m, /^parameters +[\d.]+ KB +[\d.]+ KB +[\d.]+ ×$/m, /^all-reduce along model, f32 +\d+ ×, [\d.]+ KB +–/m]) expect(diff.out).toMatch(part)
    const lines = (await meshwork(...plan, '--batch', '1', '--model', '1', '--diff', '--mesh batch=2,model=1', '--json')).out.trim().split('\n').map(l => JSON.parse(l) as Plan)
    expect(lines.map(l => l.devices)).toEqual([1, 2])
  })

  it('says what a step takes on a machine: as data, as a table with what costs most, and as a picture', async () => {
    const two = ['--batch', '2', '--model', '2', '--machine', '8xh100'] as const
    const { predicted } = await planned(...two) as Plan & { readonly predicted: Readonly<Record<string, unknown>> }
    expect(predicted).toMatchObject({ machine: '8xh100', devices: 4, hosts: 1, fits: true, unit: 'tokens', memoryBytes: 76e9, dollarsPerTrillion: null })
    for (const figure of ['stepMs', 'productMs', 'memoryMs', 'collectiveMs', 'waitedMs', 'overheadMs', 'peakBytes', 'utilisation', 'perSecond', 'deviceHoursPerTrillion']) expect(predicted[figure], figure).toBeGreaterThan(0)
    expect(predicted['costliest']).toHaveLength(3)
    const { code, out, err } = await meshwork(...plan, ...two, '--price', '2.5', '--svg', 'step.svg')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const part of [
      /^time of a step on 4 devices of 8xh100, 1 host: predicted$/m, /^ {2}products +[\d.]+ (µs|ms) +[\d.]+ %$/m, /^ {2}collectives, waited for +[\d.]+ (µs|ms)/m, /^ {2}a step +[\d.]+ (µs|ms)$/m, /^ {2}1\. .+ ×.+%/m,
      /^memory: [\d.]+ KB of 76\.0 GB of a device$/m, /^utilisation: [\d.]+ % .*no causal halving/m, /^[\d,]+ tokens a second; 10¹² tokens take [\d,]+ device-hours, \$[\d,.]+$/m,
    ]) expect(out).toMatch(part)
    const svg = readFileSync(join(place.path, 'step.svg'), 'utf8')
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
    expect(svg.match(/<rect/g)?.length).toBeGreaterThan(20)
    expect(svg).toContain('all-reduce along model')
  })

  it('makes the axis of the batch as large as the hosts are, and plans for several values of a field', async () => {
    const { mesh } = await planned('--set', 'batch=32', '--batch', '8', '--model', '2', '--machine', '8xh100', '--hosts', '2')
    expect(mesh).toEqual({ batch: 8, model: 2 })
    const wide = await planned('--set', 'batch=32', '--machine', '8xh100', '--hosts', '2')
    expect(wide.mesh).toEqual({ batch: 8, model: 2 })
    const swept = await meshwork(...plan, '--machine', '8xh100', '--sweep', 'batch=4,8', '--svg', 'sweep.svg')
    expect({ code: swept.code, rows: swept.out.trim().split('\n').map(l => l.split(/ {2,}/)[0]?.trim()) }).toEqual({ code: 0, rows: ['batch', '4', '8'] })
    expect(readFileSync(join(place.path, 'sweep.svg'), 'utf8').match(/<circle/g)).toHaveLength(4)
    const { out } = await meshwork(...plan, '--set', 'batch=32', '--machine', '8xh100', '--sweep', 'hosts=1,2', '--json')
    const { field, values } = JSON.parse(out) as { readonly field: string; readonly values: readonly { readonly value: string; readonly predicted: { readonly devices: number } }[] }
    expect([field, values.map(v => [v.value, v.predicted.devices])]).toEqual(['hosts', [['1', 8], ['2', 16]]])
  })

  it('says of a value by which nothing can be laid that it is so, and goes on', async () => {
    const sweep = [...plan, '--batch', '2', '--machine', '8xh100', '--sweep', 'batch=3,4']
    const { code, out } = await meshwork(...sweep, '--svg', 'some.svg')
    expect({ code, rows: out.trim().split('\n').map(l => l.split(/ {2,}/).slice(0, 2)) }).toEqual({ code: 0, rows: [['batch', 'devices'], ['3', expect.stringMatching(/^cannot be laid: .*dim "batch" of size 3 cannot be cut into 2 equal parts; make "batch" a multiple of 2/)], ['4', '4']] })
    expect(readFileSync(join(place.path, 'some.svg'), 'utf8').match(/<circle/g)).toHaveLength(2)
    const { values } = JSON.parse((await meshwork(...sweep, '--json')).out) as { readonly values: readonly { readonly value: string; readonly wrong?: { readonly code: string; readonly what: string; readonly fix: string }; readonly predicted?: object }[] }
    expect(values.map(v => [v.value, v.wrong?.code, v.predicted !== undefined])).toEqual([['3', expect.any(String), false], ['4', undefined, true]])
  })

  it('compares what steps take on a machine, with what is set for both', async () => {
    const both = [...plan, '--set', 'batch=8', '--machine', '8xh100', '--price', '2', '--diff', '--mesh batch=4,model=1 --set steps=3']
    const { out } = await meshwork(...both)
    for (const part of [/^a step, predicted +[\d.]+ [µm]s +[\d.]+ [µm]s +([\d.]+ ×|=)$/m, /^collectives, waited for +[\d.]+ [µm]s +[\d.]+ [µm]s/m, /^utilisation +[\d.]+ % +[\d.]+ %/m, /^cost of 10¹² +\$[\d.,]+ +\$[\d.,]+/m]) expect(out).toMatch(part)
    const lines = (await meshwork(...both, '--json')).out.trim().split('\n').map(l => JSON.parse(l) as Plan & { readonly predicted: { readonly stepMs: number; readonly devices: number; readonly perSecond: number } })
    // Of both a step has 8 windows of 16 tokens.
    expect(lines.map(l => [l.devices, l.predicted.devices, Math.round(l.predicted.perSecond * l.predicted.stepMs / 1000)])).toEqual([[4, 4, 128], [4, 4, 128]])
  })

  it('prints what docs/parallelism.md shows, but for numbers', async () => {
    const shown = /^gpt-tiny: [\s\S]*?^ {2}kind .*$/m.exec(readFileSync(join(root, 'docs/parallelism.md'), 'utf8'))?.[0] ?? ''
    const words = (of: string): string[] => of.split('\n').map(line => line.replace(/[\d.,]+ [KMGT]?(B|FLOP)\b|[\d.,]+/g, 'n').replace(/ +/g, ' '))
    const { out } = await meshwork('plan', 'gpt-tiny', '--batch', '2', '--model', '2')
    expect(words(shown).length).toBeGreaterThan(15)
    expect(words(out).slice(0, words(shown).length)).toEqual(words(shown))
    // Twice the same.
    expect((await meshwork('plan', 'gpt-tiny', '--batch', '2', '--model', '2')).out).toBe(out)
  })

  it('plans 10¹² parameters on 16,384 devices, and says how long stages wait', async () => {
    const { code, out } = await meshwork('plan', 'gpt-1t', '--mesh', 'batch=256,model=16,stage=4', '--set', 'batch=16384', '--json')
    expect(code).toBe(0)
    // Of 32 microbatches and 4 stages, 3 of 35.
    expect(JSON.parse(out)).toMatchObject({ devices: 16_384, mesh: { batch: 256, model: 16, stage: 4 }, pipeline: { schedule: '1f1b', stages: 4, microbatches: 32, idle: expect.closeTo(3 / 35, 6) as number } })
    expect((JSON.parse(out) as Plan).perDevice['flops']).toBeGreaterThan(1e16)
  })

  it('plans a run that was made', async () => {
    place.file('text.txt', text)
    const made = await meshwork('train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', 'text.txt', '--steps', '1', '--out', 'run', '--batch', '1', '--model', '2')
    expect(made.code, made.err).toBe(0)
    const { out } = await meshwork('plan', 'run', '--json')
    expect(JSON.parse(out)).toMatchObject(await planned('--batch', '1', '--model', '2'))
  })

  it('plans a model that no run has made, laid out as other commands lay it', async () => {
    tinyLlama(join(place.path, 'tiny'), { positions: 128 })
    const plans = await Promise.all([['--batch', '2', '--model', '2'], ['--batch', '2', '--model', '2', '--layout', 'batch=batch'], ['--batch', '16', '--model', '1'], ['--batch', '1', '--model', '1', '--set', 'batch=3']]
      .map(async flags => { const { code, out, err } = await meshwork('plan', 'tiny', '--json', ...flags); expect({ code, err }).toEqual({ code: 0, err: '' }); return JSON.parse(out) as Plan }))
    const [split, whole, wide, few] = plans.map(p => p.perDevice)
    expect(split?.['parameterBytes']).toBeLessThan(0.6 * (whole?.['parameterBytes'] ?? 0))
    expect([plans[2]?.devices, wide?.['parameterBytes']]).toEqual([16, whole?.['parameterBytes']])
    // A window on each of sixteen devices, or three on one.
    expect((few?.['flops'] ?? 0) / (wide?.['flops'] ?? 1)).toBeCloseTo(3, 1)
  })

  it.each([
    [['--mesh', 'batch=2'], /^LayoutError\[unknown-axis\] .*"model"/],
    [['--mesh', 'batch=3,model=1'], /^LayoutError\[does-not-divide\] .*"batch" of size 4 cannot be cut into 3/],
    [['--layout', 'bach=batch'], /^LayoutError\[unknown-dim\] .*\n[\s\S]*"batch"/],
    [['--params', 'embed'], /^UsageError\[flag\] --params: "embed" is not DIM=AXIS/],
    [['--diff', 'batch=4'], /^UsageError\[flag\] --diff: "batch=4" gives no flags/],
    [['--diff', '--mash batch=4'], /^UsageError\[unknown-option\]/],
    [['--diff', '--mesh batch=3,model=1'], /^LayoutError\[does-not-divide\]/],
  ])('refuses %j', async (flags, message) => {
    const { code, out, err } = await meshwork('plan', 'gpt-tiny', ...small, ...flags)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(message)
  })
})
