/** Pictures of plans: those of the README are current, and what is written in them is text. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import gptTiny from '../../recipes/gpt-tiny.ts'
import pipelineTiny from '../../recipes/pipeline-tiny.ts'
import { oklch, partColour, style } from '../../src/draw/colours.ts'
import { pictureFile, pictureNames } from '../../src/draw/pictures.ts'
import { sweepPicture } from '../../src/draw/sweep.ts'
import { fileOf, shape } from '../../src/draw/svg.ts'
import { timelinePicture } from '../../src/draw/timeline.ts'
import { knownMachine } from '../../src/machine/read.ts'
import { pictured } from '../../src/pictured/pictured.ts'
import { forecast } from '../../src/train/forecast.ts'
import type { ItemShown, PagePlan } from '../../src/train/pictured-shape.ts'
import { planRun } from '../../src/train/planned.ts'
import type { Run } from '../../src/train/run.ts'

const at = (name: string): string => fileURLToPath(new URL(`../../docs/pictures/${name}`, import.meta.url))
const plan = pictured(gptTiny, planRun(gptTiny))

// Written anew by UPDATE_GOLDEN=1.
test.each([['mesh', 'params.blocks.up'], ['program', undefined], ['memory', undefined]] as const)('docs/pictures/%s.svg is what meshwork plan --svg draws', (name, tensor) => {
  const text = pictureFile(name, plan, { tensor }) ?? ''
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(at(`${name}.svg`), text)
  expect(readFileSync(at(`${name}.svg`), 'utf8')).toBe(text)
  expect(text.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true)
})

test('there is no picture of another name', () => {
  expect(pictureNames).toEqual(expect.arrayContaining(['mesh', 'program', 'memory']))
  expect(pictureFile('toString', plan)).toBeUndefined()
})

test('text never becomes markup', () => {
  const text = fileOf({ width: 10, height: 10, title: '"><script>', shapes: [shape('text', { 'data-id': '"<' }, '<b>&amp;')] }, '')
  expect(text).not.toMatch(/<(script|b)\b/)
  expect(text).toContain('&#60;b&#62;&#38;amp;')
})

test('colours: white, and red as sRGB has it; neighbouring parts differ', () => {
  expect(oklch(1, 0, 0)).toBe('#ffffff')
  expect(oklch(0.62796, 0.25768, 29.234)).toBe('#ff0000')
  expect(new Set(Array.from({ length: 16 }, (_, i) => partColour(i, 16))).size).toBe(16)
})

describe('pictures of time', () => {
  const machine = knownMachine('8xh100')
  const on = (run: Run, planned = planRun(run)): PagePlan => pictured(run, planned, undefined, { ...forecast(run, planned, machine), machine, named: '8xh100' })
  test('a timeline: each share of the step as wide as it is long, and none where no machine is known', () => {
    expect(timelinePicture(plan)).toBeUndefined()
    const timed = on(gptTiny)
    const { parts = [], stepMs = NaN, overheadMs = NaN } = timed.predicted ?? {}
    const picture = timelinePicture(timed, { width: 1000 })
    const widths = (picture?.shapes ?? []).filter(s => s.tag === 'rect' && s.children.length > 0).map(s => Number(s.attrs['width']))
    expect(widths).toHaveLength(parts.filter(p => p.ms > 0).length + 1)
    const total = Math.max(stepMs, parts.reduce((n, p) => n + p.ms - p.besideMs, 0) + overheadMs) * 1.001
    for (const [i, p] of parts.filter(x => x.ms > 0).entries()) expect(widths[i]).toBeCloseTo(Math.max(0.3, p.ms / total * 898), 6)
    // All that is waited for fills the picture but for the thousandth that is left free.
    expect(parts.reduce((n, p) => n + p.ms - p.besideMs, 0) + overheadMs).toBeGreaterThanOrEqual(stepMs * 0.999)
    expect(picture?.title).toContain('of 8xh100: a step takes')
  })
  test('each collective has the time that the whole counts: once, by as often as it is', () => {
    const timed = on(gptTiny)
    const of = (items: readonly ItemShown[]): number => items.reduce((n, i) => n + (i.kind === 'collective' ? (i.ms ?? NaN) * i.count : i.kind === 'loop' ? of(i.items) : 0), 0)
    const { program: { forward, backward, update }, predicted: { parts } = { parts: [] } } = timed
    const sum = parts.filter(p => p.kind === 'collective').reduce((n, p) => n + p.ms, 0)
    expect(sum).toBeGreaterThan(0)
    expect(of(forward) + of(backward) + of(update)).toBeCloseTo(sum, 9)
  })
  test('of a pipeline every stage has every microbatch forward and back', () => {
    const turns = on(pipelineTiny).predicted?.turns ?? []
    for (const stage of [0, 1]) for (const way of ['forward', 'backward'] as const) expect([stage, way, turns.map(t => t[way][stage] ?? null).filter(m => m !== null).sort()]).toEqual([stage, way, [0, 1, 2, 3, 4, 5, 6, 7]])
  })
  test('a sweep: both curves have a point for each value, the time by its size', () => {
    const swept = [{ value: '1', stepMs: 10, utilisation: 0.4, fits: true }, { value: '2', stepMs: 20, utilisation: null, fits: false }]
    const { shapes } = sweepPicture('run', 'machine', 'batch', swept)
    const points = shapes.filter(s => s.tag === 'circle')
    expect(points.map(p => p.attrs['class'])).toEqual(['of-product', 'of-product', 'back'])
    const [first, second] = points.map(p => 320 - Number(p.attrs['cy']))
    expect((second ?? NaN) / (first ?? NaN)).toBeCloseTo(2, 9)
    expect(JSON.stringify(shapes)).toContain('2 (too large)')
    // A line, and not the surface under it: this rule comes before that of the class alone.
    for (const { attrs } of shapes.filter(s => s.tag === 'polyline')) expect(style).toContain(`.drawn .${String(attrs['class']).replace(' ', '.')}{fill:none;stroke:`)
  })
})
