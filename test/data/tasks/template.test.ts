/** Chat templates against transformers, which golden/templates.py asked; and what a template cannot do. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { DataError } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/data/documents.ts'
import { chatPieces, templateOf } from '../../../src/data/tasks/chat.ts'
import { compileTemplate, renderChat } from '../../../src/data/tasks/template.ts'

interface Golden {
  readonly template: string; readonly variables: { readonly [name: string]: string }
  readonly cases: readonly { readonly chat: readonly Message[]; readonly prompt: boolean; readonly text?: string; readonly refused?: string; readonly learnt?: readonly string[] }[]
}
const golden = JSON.parse(readFileSync(new URL('../golden/templates.json', import.meta.url), 'utf8')) as { readonly [name: string]: Golden }

describe.each(Object.entries(golden))('%s', (_, { template, variables, cases }) => {
  test('text, and what is marked in it', () => {
    const program = compileTemplate(template)
    for (const { chat, prompt, text, refused, learnt } of cases) {
      const options = { addGenerationPrompt: prompt, variables }
      if (refused !== undefined) {
        expect(() => program.render(chat, options)).toThrow(DataError)
        continue
      }
      expect(program.render(chat, options)).toBe(text)
      const pieces = program.marked?.(chat, options)
      expect(pieces?.filter(p => p.learnt).map(p => p.text)).toEqual(learnt)
      if (pieces !== undefined) expect(pieces.map(p => p.text).join('')).toBe(text)
    }
  })

  test('the assistant\'s turns, by what comes before them', () => {
    const chat: readonly Message[] = [{ role: 'user', content: 'Who?' }, { role: 'assistant', content: 'Me.' }, { role: 'user', content: 'Why?' }, { role: 'assistant', content: 'So.' }]
    const pieces = chatPieces(chat, { ...templateOf({ jinja: template, variables }) }, ['assistant'], 'here')
    expect(pieces.map(p => p.text).join('')).toBe(renderChat(template, chat, { variables }))
    const learnt = pieces.filter(p => p.learnt).map(p => p.text)
    expect(learnt.map(text => /Me|So/.exec(text)?.[0])).toEqual(['Me', 'So'])
    expect(learnt.join('')).not.toMatch(/Who|Why/)
  })
})

const chat: readonly Message[] = [{ role: 'user', content: 'hi' }]
test('the date is what it is told, in English', () => {
  expect(renderChat('{{ strftime_now("%d %b %Y, %A %I:%M %p %%") }}', chat, { now: new Date(2026, 1, 3, 15, 4) })).toBe('03 Feb 2026, Tuesday 03:04 PM %')
})
test('nothing but the template\'s own language is in reach', () => {
  expect(renderChat('{{ constructor }}|{{ messages.constructor }}|{{ messages.__proto__ }}|{{ "".constructor }}|{{ process }}|{{ globalThis }}', chat)).toBe('|||||')
})
test.each<[string, string, RegExp]>([
  ['loops without end', '{% for a in range(4000) %}{% for b in range(4000) %}{{ a }}{% endfor %}{% endfor %}', /does not come to an end/],
  ['counts without end', '{% for a in range(10000000000) %}{% endfor %}', /counts 10000000000 numbers/],
  ['counts by nothing', '{% for a in range(0, 5, 0) %}{% endfor %}', /numbers/],
  ['doubles a text', '{% set ns = namespace(s="0123456789") %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}', /makes a text of/],
  ['doubles a list', '{% set ns = namespace(s=[1,2,3]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}', /makes a list of/],
  ['calls itself', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', /cannot be rendered/],
  ['is huge', 'x'.repeat(200_000), /has 200000 characters/],
  ['is white space', `a${' '.repeat(5000)}b`, /white spaces in one place/],
  ['is nested', `{{ ${'('.repeat(20_000)}1${')'.repeat(20_000)} }}`, /nested too deeply/],
  ['is broken', '{% if %}', /no template that can be used/],
  ['names no filter', '{{ messages | launch }}', /cannot be rendered[^]*launch/],
  ['refuses', '{{ raise_exception("only users") }}', /refuses the chat[^]*only users/],
])('a template that %s is an error', (_, template, reason) => {
  const render = (): string => renderChat(template, chat)
  expect(render).toThrow(DataError)
  expect(render).toThrow(reason)
})
test('a message with the marks is refused', () => {
  const { marked } = compileTemplate(golden['chatml']!.template)
  expect(() => marked!([{ role: 'user', content: '\uf8f0\ue0a1\uf8f1' }])).toThrow(/characters that mark/)
})
