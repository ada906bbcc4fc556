/** Answers that may, or must, call tools. */
import { describe, expect, test } from 'vitest'
import type { Constraint } from '../../../src/serve/asking.ts'
import { accepts, drawn } from './support.ts'

const schema = { type: 'object', properties: { city: { type: 'string', maxLength: 6 }, days: { $ref: '#/$defs/days' } }, required: ['city'], additionalProperties: false, $defs: { days: { type: 'integer', minimum: 1, maximum: 9 } } }
const tools = (more: Partial<Extract<Constraint, { readonly type: 'tools' }>> = {}): Constraint => ({ type: 'tools', tools: [{ name: 'weather', schema }, { name: 'time', schema: { type: 'object', properties: { days: { type: 'boolean' } }, required: ['days'], additionalProperties: false } }], required: false, several: true, ...more })
const weather = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'
const time = '<tool_call>{"name": "time", "arguments": {"days":true}}</tool_call>'

describe('tools', () => {
  test.each([
    ['nothing but text', 'It rains < today <tool_cal l>.', {}, true],
    ['no text at all', '', {}, true],
    ['a call', weather, {}, true],
    ['text, and a call', `Let me see. <${weather}`, {}, true],
    ['a mark that begins twice', `<tool_<tool_call>{"name": "time", "arguments": {"days":true}}</tool_call>`, {}, true],
    ['two calls', `${weather}\n${time}`, {}, true],
    ['two calls where one is allowed', `${weather}\n${time}`, { several: false }, false],
    ['text behind a call', `${time} Done.`, {}, false],
    ['a tool that is not there', weather.replace('weather', 'wether'), {}, false],
    ['arguments of another tool', time.replace('time', 'weather'), {}, false],
    ['arguments that the schema refuses', weather.replace('3', '10'), {}, false],
    ['a call that is not closed', weather.slice(0, -1), {}, false],
    ['what must call, and does', weather, { required: true }, true],
    ['what must call, and says nothing', '', { required: true }, false],
    ['what must call, and talks', `Well. ${weather}`, { required: true }, false],
  ] as const)('%s', (_, text, more, yes) => { expect(accepts(tools(more), text)).toBe(yes) })

  test('that must be called are, whatever is drawn', () => {
    for (let seed = 0; seed < 16; seed++) {
      const text = drawn(tools({ required: true, several: false }), seed)
      if (text === undefined) continue
      const { name, arguments: given } = JSON.parse(text.replace('<tool_call>', '').replace('</tool_call>', '')) as { readonly name: string; readonly arguments: { readonly city?: string; readonly days?: unknown } }
      if (name === 'time') expect(typeof given.days).toBe('boolean')
      else expect([name, typeof given.city]).toEqual(['weather', 'string'])
    }
  })
})
