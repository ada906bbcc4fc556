/** The parts of the command line that need no process: flags, pictures, the line that changes, and what a plugin cannot give. */
import { describe, expect, it } from 'vitest'
import { drawMesh } from '../../src/cli/picture.ts'
import { formatBytes, formatCount, formatDuration, shellWord, visible } from '../../src/cli/format.ts'
import { openOutput } from '../../src/cli/output.ts'
import { applyFlags, type RunFlags } from '../../src/cli/overrides.ts'
import { compile, dims, input, mesh, type Backend } from '../../src/engine/index.ts'
import { alone } from '../../src/runtime/processes.ts'
import { textData } from '../../src/data/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun } from '../../src/train/index.ts'
import { fieldsOf } from '../../src/train/run.ts'

const base = defineRun({
  name: 'base', model: gptModel({ vocab: 512, seq: 32, layers: 1, embed: 32, heads: 2, headDim: 16, hidden: 64 }), data: textData({}), batch: 4, steps: 5,
  mesh: { batch: 2, model: 2 }, optimizer: adamwCosine({ rate: 1e-3 }),
})

describe('flags', () => {
  it.each<[string, RunFlags, object]>([
    ['none change nothing', {}, fieldsOf(base)],
    ['--batch and --model change one axis each', { batch: '4' }, { mesh: { batch: 4, model: 2 } }],
    ['--mesh replaces all axes', { mesh: 'a=3,b=1' }, { mesh: { a: 3, b: 1 } }],
    ['--layout replaces all rules; a dim named twice takes both axes', { layout: 'batch=a,heads=m,batch=b' }, { layout: { batch: ['a', 'b'], heads: 'm' } }],
    ['--set adds axes and rules, and takes any JSON', { set: ['mesh.pipe=2', 'layout={"heads":"pipe"}', 'params.embed=batch'] }, { mesh: { batch: 2, model: 2, pipe: 2 }, layout: { heads: 'pipe' }, params: { embed: 'batch' } }],
    ['--set adds rules to layouts that the model names', { set: ['layouts.residual.seq=model', 'layouts.residual.from=params'] }, { layouts: { residual: { seq: 'model', from: 'params' } } }],
    ['--set comes last', { steps: '7', set: ['steps=9'] }, { steps: 9 }],
    ['--set leaves text text, also where it looks like a number', { set: ['name=7', 'sample.prompt="7"', 'remat=nothing'] }, { name: '7', sample: { prompt: '7' }, remat: 'nothing' }],
    ['--set takes one file for a list of one', { set: ['data.files=novel.txt'] }, { data: { files: ['novel.txt'] } }],
    ['--set keeps "=" in a value', { set: ['sample.prompt=a=b'] }, { sample: { prompt: 'a=b' } }],
    ['--data replaces the text', { data: ['a.txt', 'b.txt'] }, { data: { files: ['a.txt', 'b.txt'] } }],
    ['--set reaches the parts of a part, and what has no value yet', { set: ['checkpoint.keep.every=100', 'guard.spike=6', 'optimizer.length=10', 'data.rows=packed'] }, { checkpoint: { keep: { every: 100 } }, guard: { spike: 6 }, optimizer: { length: 10 }, data: { rows: 'packed' } }],
    ['--set takes null for nothing', { set: ['guard.spike=null'] }, { guard: { spike: null } }],
  ])('%s', (_name, flags, expected) => { expect(fieldsOf(applyFlags(base, flags))).toMatchObject(expected) })

  it('leaves the recipe as it was', () => {
    const before = structuredClone(fieldsOf(base))
    applyFlags(base, { batch: '8', set: ['model.layers=3', 'mesh.batch=4'] })
    expect(fieldsOf(base)).toEqual(before)
  })
})

describe('words and numbers', () => {
  it('have three digits and a unit', () => {
    expect([0, 999, 1000, 123_456, 1.5e9].map(formatBytes)).toEqual(['0 B', '999 B', '1.00 KB', '123 KB', '1.50 GB'])
    expect([999, 12_345, 1_234_567].map(formatCount)).toEqual(['999', '12.3 K', '1.23 M'])
    expect([4.4, 83, 7267].map(formatDuration)).toEqual(['4 s', '1:23', '2:01:07'])
  })

  it('are safe for a shell and for a terminal', () => {
    expect(['runs/a-0', 'a b', 'it\'s'].map(shellWord)).toEqual(['runs/a-0', '\'a b\'', '\'it\'\\\'\'s\''])
    expect(visible(`a\u001b[2J\u0007b\r\n\tc\u009b é`)).toBe('a\ufffd[2J\ufffdb\ufffd\n\tc\ufffd é')
  })
})

describe('the mesh as a picture', () => {
  const plan = (...sizes: number[]): Parameters<typeof drawMesh>[0] => {
    const axes = sizes.map((size, i) => ({ name: 'abc'.charAt(i), size }))
    const count = sizes.reduce((n, s) => n * s, 1)
    const coordinate = (device: number, i: number): number => Math.floor(device / sizes.slice(i + 1).reduce((n, s) => n * s, 1)) % (sizes[i] ?? 1)
    return {
      mesh: axes, devices: Array.from({ length: count }, (_, device) => ({
        device, coordinates: Object.fromEntries(axes.map((a, i) => [a.name, coordinate(device, i)])), parameters: 10, bytes: 120, rows: [0, 1] as const,
      })),
    }
  }
  const numbers = (lines: readonly string[]): string[] => lines.flatMap(line => line.match(/device \d+/g) ?? [])

  it('has a row for each place along the first axes, a column for each along the last', () => {
    const lines = drawMesh(plan(2, 2))
    expect(lines).toHaveLength(1 + 2 * 6)
    expect(numbers(lines)).toEqual(['device 0', 'device 1', 'device 2', 'device 3'])
    expect(drawMesh(plan(2, 2, 2)).filter(line => line.startsWith('a ')).map(line => line.slice(0, 7))).toEqual(['a 0 b 0', 'a 0 b 1', 'a 1 b 0', 'a 1 b 1'])
    expect(numbers(drawMesh(plan(1, 1)))).toEqual(['device 0'])
  })

  it('fits the screen, and counts what it leaves out', () => {
    const lines = drawMesh(plan(32, 32), 80)
    expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(80)
    const drawn = numbers(lines).length
    expect(lines.length).toBeLessThan(60)
    expect(lines.at(-1)).toContain(`and ${32 * 32 - drawn} more`)
  })
})

describe('output', () => {
  const streams = (isTTY: boolean, columns = 20) => {
    const written: string[] = []
    let time = 0
    const stream = { isTTY, columns, write: (text: string) => { written.push(text); return true } }
    return { written, output: openOutput(stream, stream, () => time), pass: (seconds: number) => { time += seconds * 1000 } }
  }

  it('changes one line on a terminal, cut to its width, and takes it away for a result', () => {
    const { written, output } = streams(true)
    output.status('a long line that is cut')
    output.status('b')
    output.print('result')
    expect(written).toEqual(['\r\x1b[2Ka long line that is', '\r\x1b[2Kb', '\r\x1b[2K', 'result\n'])
  })

  it('is whole on a terminal that says it has no width', () => {
    const { written, output } = streams(true, 0)
    output.status('a line of no great length')
    expect(written).toEqual(['\r\x1b[2Ka line of no great length'])
  })

  it('is plain lines in a pipe, one every five seconds, and those that must be', () => {
    const { written, output, pass } = streams(false)
    output.status('at once')
    pass(6)
    output.status('later')
    output.status('too soon')
    output.status('important', true)
    output.note('a warning')
    output.print('result')
    expect(written).toEqual(['later\n', 'important\n', 'a warning\n', 'result\n'])
  })
})

describe('a plugin with fewer devices than the mesh', () => {
  it('is told before anything is compiled', async () => {
    const refuse = (): never => { throw new Error('nothing should be asked of it') }
    const backend: Backend = {
      name: 'gpu', description: 'a plugin', plugin: 'gpu', deviceCount: 2, addressable: [0, 1], lowering: { platform: 'cuda', contractions: 'f32' }, devicesAs: 'replicas', processes: alone, compile: refuse, traced: refuse, put: refuse, kernels: () => Promise.resolve(false), liveBuffers: () => 0, close: () => Promise.resolve(), ownerOf: () => 0, [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    const { batch } = dims({ batch: 4 })
    const compiled = compile(x => x.add(1), [input('x', [batch])] as const, { mesh: mesh({ batch: 4 }), layout: { batch: 'batch' }, backend })
    await expect(compiled).rejects.toMatchObject({ code: 'too-many-devices', exitCode: 2, message: expect.stringMatching(/needs 4 devices, gpu has 2\n {2}fix {2}\S/) as string })
  })
})
