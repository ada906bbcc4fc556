/** Programs with clocks in them: the same numbers, and every part seen as often as it runs. */
import { describe, expect, it } from 'vitest'
import { PluginError } from '../../src/core/errors.ts'
import { openSimulate } from '../../src/runtime/simulate/backend.ts'
import { Message } from '../../src/runtime/pjrt/trace/wire.ts'
import type { Span, TracedPart } from '../../src/runtime/backend.ts'
import { addProgram, allReduceProgram, donatingProgram, free, loopProgram, putVector, take, withBackend } from './pjrt-support.ts'

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const runs = (spans: readonly Span[], parts: readonly TracedPart[], op: string, device = 0): number => spans.filter(s => s.device === device && parts[s.part]?.op === op).length

describe('a traced program', () => {
  it('gives the same numbers to the last bit, and sees each turn of a loop', () => withBackend(1, async backend => {
    const request = { text: loopProgram, devices: 1, donated: [] }
    const [plain, traced] = [await backend.compile(request), await backend.traced(request)]
    const turns = await backend.put(Int32Array.of(7), { shape: [], dtype: 'i32' }, 0)
    const expected = await take(await plain.execute([[turns]]))
    let found: number[][][] = []
    const { spans, lost } = await traced.record(async () => { found = await take(await traced.execute([[turns]])) })
    expect(found).toEqual(expected)
    expect(lost).toBe(0)
    const dots = traced.parts.filter(p => p.flops > 0)
    expect(dots.map(p => [p.flops, p.bytes, p.sizes])).toEqual([[2 * 300 ** 3, 3 * 300 * 300 * 4, [300, 300]]])
    expect(spans.filter(s => (traced.parts[s.part]?.flops ?? 0) > 0)).toHaveLength(7)
    for (const s of spans) expect(s.to).toBeGreaterThanOrEqual(s.from)
    // What ran while nobody listened leaves nothing.
    await take(await traced.execute([[turns]]))
    expect((await traced.record(() => Promise.resolve())).spans).toEqual([])
    free([[turns]])
    expect(backend.liveBuffers()).toBe(0)
  }))

  it('keeps devices apart, and says whom a collective brings together', () => withBackend(4, async backend => {
    const groups = [[0, 2], [1, 3]]
    const traced = await backend.traced({ text: allReduceProgram(groups), devices: 4, donated: [] })
    const args = await Promise.all(range(4).map(async d => [await putVector(backend, [d, 0, -d, 10 * d], d)]))
    const { spans } = await traced.record(async () => {
      expect(await take(await traced.execute(args))).toEqual([2, 4, 2, 4].map(s => [[s, 0, -s, 10 * s]]))
    })
    const sums = traced.parts.filter(p => p.op === 'all-reduce')
    expect(sums.map(p => p.groups)).toEqual([groups])
    expect(range(4).map(d => runs(spans, traced.parts, 'all-reduce', d))).toEqual([1, 1, 1, 1])
    free(args)
  }))

  it('takes arguments over as the plain one does', () => withBackend(1, async backend => {
    const traced = await backend.traced({ text: donatingProgram(1024), devices: 1, donated: [0] })
    expect(traced.memory?.aliased).toBe(4096)
    const [x, y] = [await putVector(backend, range(1024), 0), await backend.put(Float32Array.of(2), { shape: [], dtype: 'f32' }, 0)]
    const { spans } = await traced.record(async () => {
      expect(await take(await traced.execute([[x, y]]))).toEqual([[range(1024).map(i => i + 2)]])
    })
    expect(spans.length).toBeGreaterThan(0)
    await expect(traced.execute([[x, y]])).rejects.toThrow('disposed or donated')
    free([[y]])
    expect(backend.liveBuffers()).toBe(0)
  }))

  it('names the user\'s lines', () => withBackend(1, async backend => {
    const text = addProgram(64).replace('-> tensor<64xf32>\n    "func', '-> tensor<64xf32> loc("models/mine.ts":12:3)\n    "func')
    const traced = await backend.traced({ text, devices: 1, donated: [] })
    expect(traced.parts.map(p => [p.lines, p.bytes])).toEqual([[['models/mine.ts:12'], 3 * 64 * 4]])
  }))

  it('is refused where nothing can be told', async () => {
    await using simulate = await openSimulate({ devices: 1 })
    await expect(simulate.traced({ text: addProgram(1), devices: 1, donated: [] })).rejects.toMatchObject({ code: 'no-trace', message: expect.stringContaining('--plugin cpu') as string })
    await expect(simulate.traced({ text: addProgram(1), devices: 1, donated: [] })).rejects.toBeInstanceOf(PluginError)
  })
})

describe('messages', () => {
  it('hand on what is not changed, byte by byte', () => {
    const inner = new Message().withNumbers(1, 5).withText(2, 'five')
    const whole = new Message().withText(9, 'name').withNumbers(3, 1, -1, 2 ** 40).withMessages(4, inner, inner)
    const read = Message.read(whole.encode())
    expect(read.encode()).toEqual(whole.encode())
    expect([read.text(9), read.numbers(3), read.messages(4).map(m => [m.number(1), m.text(2)]), read.number(7), read.message(7)]).toEqual(['name', [1, -1, 2 ** 40], [[5, 'five'], [5, 'five']], 0, undefined])
    const changed = Message.read(read.withText(9, 'other').without(4).encode())
    expect([changed.text(9), changed.numbers(3), changed.has(4)]).toEqual(['other', [1, -1, 2 ** 40], false])
    // Packed, as newer writers have them.
    expect(Message.read(Uint8Array.of(0x1a, 3, 1, 0xac, 0x02)).numbers(3)).toEqual([1, 300])
  })
})
