/** Streams of events: who reads nothing is left, who waits hears that it is waited for, who leaves is not written to. */
import { expect, test, vi } from 'vitest'
import { eventStream } from '../../src/server/sse.ts'

/** Objects for ever, as fast as they are asked for. */
async function* forever(made: { count: number; closed: boolean }): AsyncGenerator<object> {
  try { for (;;) { await Promise.resolve(); yield { n: made.count++ } } } finally { made.closed = true }
}

test('a client that reads nothing gets no more than it has room for, and is left after a while', async () => {
  const made = { count: 0, closed: false }
  const left = vi.fn()
  const { body } = eventStream(forever(made), { left, failed: () => {}, patience: 30 })
  await vi.waitFor(() => { expect(left).toHaveBeenCalledTimes(1) })
  expect([made.count < 10, made.closed]).toEqual([true, true])
  await expect(body?.getReader().read()).rejects.toThrow('reads nothing')
})

test('one that reads now and then is not', async () => {
  const made = { count: 0, closed: false }
  const left = vi.fn()
  const reader = eventStream(forever(made), { left, failed: () => {}, patience: 400 }).body?.getReader()
  for (let i = 0; i < 12; i++) {
    await new Promise(resolve => { setTimeout(resolve, 50) })
    expect(new TextDecoder().decode((await reader?.read())?.value as Uint8Array<ArrayBuffer> | undefined)).toBe(`data: {"n":${i}}\n\n`)
  }
  expect(left).not.toHaveBeenCalled()
  await reader?.cancel()
  expect([left.mock.calls.length, made.closed]).toEqual([1, true])
})

test('what takes long is told of, and who leaves meanwhile is an error to nobody', async () => {
  let answer: () => void = () => {}
  const waits = new Promise<void>(resolve => { answer = resolve })
  const failed = vi.fn()
  async function* slow(): AsyncGenerator<object> { await waits; yield { late: true } }
  const reader = eventStream(slow(), { left: () => {}, failed, pingEvery: 10 }).body?.getReader()
  expect(new TextDecoder().decode((await reader?.read())?.value as Uint8Array<ArrayBuffer> | undefined)).toBe(': ping\n\n')
  const gone = reader?.cancel()
  // Signs of life that were due meanwhile went into a stream that was closed, which ended the process.
  await new Promise(resolve => { setTimeout(resolve, 50) })
  answer()
  await gone
  await new Promise(resolve => { setTimeout(resolve, 30) })
  expect(failed).not.toHaveBeenCalled()
})
