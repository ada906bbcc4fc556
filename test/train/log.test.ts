/** metrics.jsonl and TensorBoard's events: what is told is there, and a run that goes on cuts both where its checkpoint was. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FileError } from '../../src/core/errors.ts'
import type { StepRow, TrainEvent } from '../../src/train/events.ts'
import { jsonLine, Log } from '../../src/train/log.ts'

let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'meshwork-log-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const file = (): string => join(folder, 'metrics.jsonl')
const eventFiles = (): string[] => readdirSync(folder).filter(n => n.startsWith('events.out.tfevents.'))
const events = (): string => join(folder, eventFiles()[0] ?? '')
const lines = (): unknown[] => readFileSync(file(), 'utf8').split('\n').slice(0, -1).map(l => JSON.parse(l) as unknown)
const step = (n: number, more: Partial<StepRow> = {}): TrainEvent & { readonly type: 'step' } => ({
  type: 'step', steps: 100, step: n, loss: 4 - n / 10, gradNorm: 1, updateNorm: 0.5, paramNorm: 7, learningRate: 1e-3, seen: 8 * (n + 1),
  time: { stepMs: 10 + n, dataWaitMs: 0, perSecond: 800, flopsPerSecond: 1e6 }, ...more,
})
const empty = { metricsBytes: 0, eventsBytes: 0 }
const opened = async (lengths = empty, again = false) => Log.open(folder, lengths, again)

test('a line of each step, evaluation, skipped step and rewind; nothing of all else', async () => {
  const { log, lost } = await opened()
  expect(lost).toEqual([])
  const told: TrainEvent[] = [
    step(0), { type: 'note', text: 'a word' }, { type: 'eval', step: 0, evalLoss: 4.5, metrics: { accuracy: 0.25 } }, step(1, { skipped: true, lossScale: 8 }),
    { type: 'skipped', step: 1, why: 'its loss is NaN', documents: ['a.txt:3'] }, { type: 'saved', folder }, { type: 'rewind', step: 1, to: 0, batch: 2, why: 'its loss leaps' },
  ]
  for (const e of told) await log.tell(e)
  await log.close()
  const { type: _, steps: __, ...first } = step(0)
  expect(lines()).toEqual([
    first, { step: 0, evalLoss: 4.5, metrics: { accuracy: 0.25 } }, { ...first, ...step(1, { skipped: true, lossScale: 8 }), type: undefined, steps: undefined },
    told[4], told[6],
  ].map(x => JSON.parse(JSON.stringify(x)) as unknown))
  const bytes = readFileSync(events())
  for (const tag of ['train/loss', 'train/gradNorm', 'train/updateNorm', 'train/paramNorm', 'train/learningRate', 'train/lossScale', 'time/stepMs', 'eval/loss', 'eval/accuracy']) expect(bytes.includes(tag), tag).toBe(true)
})

test('numbers that JSON lacks can be read', async () => {
  const { log } = await opened()
  await log.tell(step(0, { loss: NaN, gradNorm: Infinity, updateNorm: -Infinity, paramNorm: 1e-320 }))
  await log.tell({ type: 'eval', step: 0, evalLoss: NaN, metrics: { accuracy: NaN } })
  await log.close()
  expect(lines()).toMatchObject([{ loss: 'NaN', gradNorm: 'Infinity', updateNorm: '-Infinity', paramNorm: 1e-320 }, { evalLoss: 'NaN', metrics: { accuracy: 'NaN' } }])
  expect(jsonLine({ a: [NaN, null, 'NaN', true] })).toBe('{"a":["NaN",null,"NaN",true]}\n')
})

/** Five steps, the lengths of both files after the second, and all that was written in the end. */
async function interrupted() {
  const { log } = await opened()
  for (const n of [0, 1]) await log.tell(step(n))
  const lengths = await log.sync()
  expect(lengths).toEqual({ metricsBytes: statSync(file()).size, eventsBytes: statSync(events()).size })
  const bytes = { metrics: readFileSync(file()), events: readFileSync(events()) }
  for (const n of [2, 3, 4]) await log.tell(step(n))
  await log.close()
  return { lengths, bytes, name: events() }
}

test('a run that goes on cuts both files, and hears which steps were lost', async () => {
  const { lengths, bytes, name } = await interrupted()
  const whole = readFileSync(file())
  const { log, lost } = await opened(lengths, true)
  expect(lost.map(r => [r.step, r.time.stepMs])).toEqual([[2, 12], [3, 13], [4, 14]])
  expect(readFileSync(file())).toEqual(bytes.metrics)
  expect(readFileSync(events())).toEqual(bytes.events)
  for (const n of [2, 3, 4]) await log.tell(step(n))
  expect((await log.sync()).metricsBytes).toBe(whole.length)
  await log.close()
  expect(readFileSync(file())).toEqual(whole)
  expect(events()).toBe(name)
  expect(eventFiles()).toHaveLength(1)
})

test('a last line that is torn is none', async () => {
  const { lengths, bytes } = await interrupted()
  truncateSync(file(), statSync(file()).size - 5)
  const { log, lost } = await opened(lengths, true)
  await log.close()
  expect(lost.map(r => r.step)).toEqual([2, 3])
  expect(readFileSync(file())).toEqual(bytes.metrics)
})

test('lines of others, and what is no JSON, are no steps that were lost', async () => {
  const { lengths } = await interrupted()
  appendFileSync(file(), '{"step":4,"evalLoss":1}\nnull\n3\n{"type":"skipped","step":4}\n\u0000\u0000\n{"time":{"stepMs":"NaN"}}\n')
  const { log, lost } = await opened(lengths, true)
  await log.close()
  expect(lost.map(r => r.step)).toEqual([2, 3, 4])
})

test('a file that is shorter than it should be goes on behind its last whole line', async () => {
  const { lengths } = await interrupted()
  truncateSync(file(), lengths.metricsBytes - 3)
  const { log, lost } = await opened(lengths, true)
  expect(lost).toEqual([])
  await log.tell(step(2))
  const { metricsBytes } = await log.sync()
  await log.close()
  expect(lines()).toMatchObject([{ step: 0 }, { step: 2 }])
  expect(metricsBytes).toBe(statSync(file()).size)
  rmSync(file())
  const again = await opened(lengths, true)
  await again.log.tell(step(2))
  await again.log.close()
  expect(lines()).toMatchObject([{ step: 2 }])
})

test('a run that was killed before its first checkpoint begins both anew', async () => {
  const { name } = await interrupted()
  const { log, lost } = await opened(empty, true)
  expect(lost.map(r => r.step)).toEqual([0, 1, 2, 3, 4])
  await log.tell(step(0))
  await log.close()
  expect(lines()).toMatchObject([{ step: 0 }])
  expect(eventFiles()).toHaveLength(1)
  expect(readFileSync(events()).includes('train/loss')).toBe(true)
  expect(existsSync(name)).toBe(name === events())
})

test('events of others are left alone by a run that has not been here before', async () => {
  writeFileSync(join(folder, 'events.out.tfevents.1.other.1.0'), 'theirs')
  const { log } = await opened()
  await log.close()
  expect(readFileSync(join(folder, 'events.out.tfevents.1.other.1.0'), 'utf8')).toBe('theirs')
  expect(eventFiles()).toHaveLength(2)
})

test('what was told is taken back', async () => {
  const { log } = await opened()
  await log.tell(step(0))
  const lengths = await log.sync()
  await log.tell(step(1))
  await log.tell(step(2))
  await log.cut(lengths)
  expect(lines()).toMatchObject([{ step: 0 }])
  expect(statSync(events()).size).toBe(lengths.eventsBytes)
  await log.tell(step(1, { loss: 3 }))
  const after = await log.sync()
  await log.close()
  expect(lines()).toMatchObject([{ step: 0 }, { step: 1, loss: 3 }])
  expect(after).toEqual({ metricsBytes: statSync(file()).size, eventsBytes: statSync(events()).size })
})

test('a place that cannot be written', async () => {
  writeFileSync(join(folder, 'file'), '')
  await expect(Log.open(join(folder, 'file'), empty, false)).rejects.toThrow(FileError)
  await expect(Log.open(join(folder, 'nowhere'), empty, false)).rejects.toThrow(/cannot write .*metrics\.jsonl/)
})
