/** Pictures of plans: those of the README are current, and what is written in them is text. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import gptTiny from '../../recipes/gpt-tiny.ts'
import { oklch, partColour } from '../../src/draw/colours.ts'
import { pictureFile, pictureNames } from '../../src/draw/pictures.ts'
import { fileOf, shape } from '../../src/draw/svg.ts'
import { pictured } from '../../src/pictured/pictured.ts'
import { planRun } from '../../src/train/planned.ts'

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
