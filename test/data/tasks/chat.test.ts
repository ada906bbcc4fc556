/** What of a chat is learnt. */
import { describe, expect, test } from 'vitest'
import { chatPieces, chatTemplates, encodeChat } from '../../../src/data/tasks/chat.ts'
import { TokenBuffer } from '../../../src/data/tokenizer-bytes.ts'
import { readTokenizer } from '../../../src/data/tokenizer-json.ts'
import { tokenizerPath } from '../store/corpus.ts'

const { chatml } = chatTemplates
const turn = (role: string, content: string) => ({ role, content })
const chat = [turn('system', 'be brief'), turn('user', 'who?'), turn('assistant', 'Washington.'), turn('user', 'when?'), turn('assistant', ' 1790\n')]
const learntOf = (messages: Parameters<typeof chatPieces>[0], loss: readonly string[]): string[] => chatPieces(messages, chatml, loss, 'here').filter(p => p.learnt).map(p => p.text)

describe('what is learnt', () => {
  test('each turn of a role with the token that ends it, of all turns', () => {
    expect(learntOf(chat, ['assistant'])).toEqual(['Washington.<|im_end|>', ' 1790\n<|im_end|>'])
    expect(learntOf(chat, ['user'])).toEqual(['who?<|im_end|>', 'when?<|im_end|>'])
    expect(learntOf(chat, ['user', 'assistant'])).toEqual(['who?<|im_end|>', 'Washington.<|im_end|>', 'when?<|im_end|>', ' 1790\n<|im_end|>'])
  })

  test('pieces join to the rendered chat; a turn begins where its speaker is given the word', () => {
    const pieces = chatPieces(chat, chatml, ['assistant'], 'here')
    expect(pieces.map(p => p.text).join('')).toBe(chatml.render(chat, { prompt: undefined }))
    expect(pieces[0]?.text).toBe(chatml.render(chat.slice(0, 2), { prompt: 'assistant' }))
    expect(pieces.at(-1)).toEqual({ text: '\n', learnt: false })
  })

  test('all of it without roles', () => {
    expect(chatPieces(chat, chatml, [], 'here')).toEqual([{ text: chatml.render(chat, { prompt: undefined }), learnt: true }])
  })
})

test('tokens: those of the pieces, and where they are', async () => {
  const tokenizer = await readTokenizer(tokenizerPath)
  const out = new TokenBuffer()
  const stretches = encodeChat(chat, tokenizer, { template: chatml, loss: ['assistant'] }, out, 'here')
  const ids = out.data.subarray(0, out.length)
  expect(tokenizer.decode(ids)).toBe(chatml.render(chat, { prompt: undefined }))
  expect(stretches.map(([from, to]) => tokenizer.decode(ids.subarray(from, to)))).toEqual(['Washington.<|im_end|>', ' 1790\n<|im_end|>'])
  // What comes before the first is encoded as for a model that goes on from it.
  expect([...ids.subarray(0, stretches[0]?.[0])]).toEqual([...tokenizer.encode(chatml.render(chat.slice(0, 2), { prompt: 'assistant' }))])
})

test.each([
  ['no turn of the role', [turn('user', 'a')], chatml, /no turn of this chat is learnt[^]*user[^]*assistant/],
  ['no turns', [], chatml, /no turn of this chat is learnt/],
])('%s is an error', async (_, messages, _template, message) => {
  const tokenizer = await readTokenizer(tokenizerPath)
  expect(() => encodeChat(messages, tokenizer, { template: chatml, loss: ['assistant'] }, new TokenBuffer(), 'here')).toThrow(message)
})

test('a template whose turns change with what follows is an error', () => {
  const odd = { render: (m: readonly unknown[], { prompt }: { readonly prompt: string | undefined }) => `${m.length} turns${prompt ?? ''}` }
  expect(() => chatPieces(chat, odd, ['assistant'], 'chat.jsonl:3')).toThrow(/chat\.jsonl:3: the text of turn 3/)
})
