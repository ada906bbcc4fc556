/** Conversations as trees: nothing is lost by editing, and what is kept or imported is what it was. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { joined, requestOf } from '../../src/page/answer.ts'
import { eventsOf } from '../../src/page/api.ts'
import { adding, changing, copyOf, emptyConversation, emptyLane, pathOf, pathTo, settled, showing, siblingsOf, turnsOf, usual, type Conversation, type Lane, type Message } from '../../src/page/conversation.ts'
import { duration, percent, rate, visible } from '../../src/page/shown.ts'
import { fromJson, toJson } from '../../src/page/stored.ts'

const about = { model: 'a', ending: 'stop', seed: 1, tokens: 2 } as const
/** Prompts p0, p1, … and their answers, in a line. */
function line(turns: number): Lane {
  let lane = emptyLane('a')
  let at = -1
  for (let i = 0; i < turns; i++) {
    [lane, at] = adding(lane, { role: 'user', text: `p${i}`, parent: at });
    [lane, at] = adding(lane, { role: 'assistant', text: `a${i}`, parent: at, about, pieces: [{ text: `a${i}`, tokens: [{ token: 'a', logprob: -0.5, top: [{ token: 'b', logprob: -1.25 }] }] }] })
  }
  return lane
}
const textsOf = (lane: Lane): string[] => pathOf(lane).map(i => lane.messages[i]?.text ?? '')

describe('a lane', () => {
  test('shows its last branch, and all others as they were', () => {
    const before = line(3)
    const second = turnsOf(before)[1]?.user ?? -1
    const [edited, at] = adding(before, { role: 'user', text: 'other', parent: before.messages[second]?.parent ?? -1 })
    expect(textsOf(edited)).toEqual(['p0', 'a0', 'other'])
    expect(siblingsOf(edited, at)).toEqual([second, at])
    expect(textsOf(showing(edited, second))).toEqual(textsOf(before))
    expect(pathTo(edited, at).map(i => edited.messages[i]?.text)).toEqual(['p0', 'a0', 'other'])
    expect(turnsOf(edited).map(t => t.answer === undefined)).toEqual([false, true])
  })
  test('begins beside another with what that one shows', () => {
    const [lane] = adding(line(2), { role: 'user', text: 'first', parent: -1 })
    const back = showing(lane, 3)
    expect(textsOf(copyOf(back, 'b'))).toEqual(['p0', 'a0', 'p1', 'a1'])
    expect(copyOf(back, 'b')).toMatchObject({ model: 'b', messages: { length: 4 } })
    expect(copyOf(emptyLane('a'), 'b')).toEqual(emptyLane('b'))
  })
  test('of any edits is a tree in which each message can be shown', () => {
    fc.assert(fc.property(fc.array(fc.nat(1000), { maxLength: 30 }), picks => {
      let lane = emptyLane('a')
      for (const pick of picks) {
        const parent = pick % (lane.messages.length + 1) - 1
        lane = adding(lane, { role: lane.messages[parent]?.role === 'user' ? 'assistant' : 'user', text: String(pick), parent })[0]
      }
      for (const at of lane.messages.keys()) expect(pathOf(showing(lane, at))).toEqual(expect.arrayContaining(pathTo(lane, at)))
      const conversation: Conversation = { ...emptyConversation('a'), lanes: [lane] }
      expect(fromJson(toJson(conversation))).toEqual(conversation)
    }))
  })
})

describe('JSON of a conversation', () => {
  const conversation: Conversation = { system: 'be short', settings: { ...usual, seed: 5, maxTokens: null }, lanes: [line(2), copyOf(line(1), 'b')] }
  test('has all of it, or all but the tokens', () => {
    expect(fromJson(toJson(conversation))).toEqual(conversation)
    const bare = fromJson(toJson(conversation, { withTokens: false }))
    expect(bare.lanes.map(textsOf)).toEqual(conversation.lanes.map(textsOf))
    expect(bare.lanes.flatMap(l => l.messages).every(m => m.pieces === undefined)).toBe(true)
  })
  test('has nothing under way', () => {
    const lane = changing(line(1), 1, { about: { ...about, ending: 'writing' } })
    expect(fromJson(toJson({ ...conversation, lanes: [lane] })).lanes[0]?.messages[1]?.about?.ending).toBe('stopped')
    expect(settled({ ...conversation, lanes: [lane] }).lanes[0]?.messages[1]?.about?.ending).toBe('stopped')
  })
  test('of others is checked', () => {
    type Written = Omit<Conversation, 'lanes'> & { version: number; format: string; lanes: (Omit<Lane, 'messages'> & { shown: number; messages: (Message & Record<string, unknown>)[] })[] }
    const broken = (change: (c: Written) => unknown): string => {
      const parsed = JSON.parse(toJson(conversation)) as Written
      change(parsed)
      try { fromJson(JSON.stringify(parsed)) } catch (e) { return (e as Error).message }
      return 'taken'
    }
    const message = (of: Written): Record<string, unknown> => of.lanes[0]?.messages[2] ?? {}
    for (const [change, said] of [
      [() => undefined, 'taken'], [c => { c.version = 2 }, 'version 1'], [c => { c.format = 'x' }, 'format'], [c => { c.lanes = [] }, '0 lanes'], [c => { c.lanes.push(...c.lanes) }, '4 lanes'], [c => { message(c)['parent'] = 2 }, 'messages.2.parent'], [c => { message(c)['parent'] = 0 }, 'messages.2.role'],
      [c => { message(c)['role'] = 'system' }, 'messages.2.role'], [c => { message(c)['shown'] = 0 }, 'shows what does not follow'], [c => { message(c)['shown'] = 99 }, 'messages.2.shown'], [c => { message(c)['text'] = null }, 'messages.2.text'], [c => { message(c)['pieces'] = [['a', [['b', 'c', []]]]] }, 'messages.2.pieces'],
      [c => { message(c)['about'] = { ...about, ending: 'x' } }, 'ending is "x"'], [c => { (c.lanes[0] as { shown: number }).shown = 1 }, 'shows what does not follow'], [c => { Object.assign(c.settings, { temperature: 3 }) }, 'between 0 and 2'], [c => { Object.assign(c.settings, { seed: -1 }) }, 'settings.seed'], [c => { Object.assign(c.settings, { maxTokens: 1.5 }) }, 'whole number'],
    ] as readonly (readonly [(c: Written) => unknown, string])[]) expect([said, broken(change)]).toEqual([said, expect.stringContaining(said)])
    for (const text of ['', '{', '[]', 'null', '"a"', '{}']) expect(() => fromJson(text)).toThrow('no conversation of Meshwork')
  })
})

describe('what is asked', () => {
  const question = { model: 'a', system: ' ', messages: [{ role: 'user', text: 'one' }, { role: 'assistant', text: ' two' }, { role: 'user', text: '' }] as const, settings: usual, seed: 7 }
  test('of a chat are messages, of a model without a template the text of all of them', () => {
    expect(requestOf({ ...question, chat: true })).toMatchObject({ path: 'v1/chat/completions', body: { messages: [{ role: 'user', content: 'one' }, { role: 'assistant', content: ' two' }, { role: 'user', content: '' }], logprobs: true, top_logprobs: 5, seed: 7, max_tokens: 512 } })
    expect(requestOf({ ...question, chat: true, system: 'be short' })).toMatchObject({ body: { messages: [{ role: 'system', content: 'be short' }, {}, {}, {}] } })
    expect(requestOf({ ...question, chat: false })).toMatchObject({ path: 'v1/completions', body: { prompt: 'one two', logprobs: 5 } })
  })
  test('is as the settings say', () => {
    const settings = { ...usual, probabilities: false, maxTokens: null }
    expect(Object.keys(requestOf({ ...question, chat: true, settings }).body).filter(k => ['max_tokens', 'logprobs', 'top_logprobs'].includes(k))).toEqual([])
    expect(requestOf({ ...question, chat: false, settings }).body).toMatchObject({ max_tokens: 2 ** 31 - 1 })
  })
})

test('tokens without text stand with those that completed it, however they come', () => {
  const token = (t: string) => ({ token: t, logprob: 0, top: [] })
  const pieces = [['a', 'a'], ['', '\xf0'], ['', '\x9f'], ['é', '!'], ['b', 'b'], ['', 'end']].map(([text = '', t = '']) => ({ text, tokens: [token(t)] }))
  const whole = [{ text: 'a', tokens: [token('a')] }, { text: 'é', tokens: [token('\xf0'), token('\x9f'), token('!')] }, { text: 'b', tokens: [token('b')] }, { text: '', tokens: [token('end')] }]
  for (let cut = 0; cut <= pieces.length; cut++) expect(joined(joined([], pieces.slice(0, cut)), pieces.slice(cut))).toEqual(whole)
})

describe('events', () => {
  const read = async (text: string, cuts: readonly number[] = []): Promise<unknown[]> => {
    const bytes = new TextEncoder().encode(text)
    const places = [0, ...cuts.map(c => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
    const found: unknown[] = []
    for await (const e of eventsOf(new ReadableStream({ start(c) { for (let i = 1; i < places.length; i++) c.enqueue(bytes.slice(places[i - 1], places[i])); c.close() } }))) found.push(e)
    return found
  }
  test('are the same wherever their bytes are cut', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(1000), { maxLength: 8 }), async cuts => {
      expect(await read('data: {"a":"é😀"}\n\n: a comment\n\ndata: {"b":2}\n\ndata: [DONE]\n\n', cuts)).toEqual([{ a: 'é😀' }, { b: 2 }])
    }))
  })
  test('that say what failed, and streams that end before their end, fail', async () => {
    await expect(read('data: {"a":1}\n\ndata: {"error":{"message":"it broke"}}\n\n')).rejects.toThrow('it broke')
    await expect(read('data: {"a":1}\n\n')).rejects.toThrow('before its end')
  })
})

test('numbers and tokens are written so that they can be read', () => {
  expect([duration(0.0042), duration(0.25), duration(1.234), duration(123.4)]).toEqual(['4.2 ms', '250 ms', '1.23 s', '123 s'])
  expect([rate(0), rate(9.04), rate(38.51), rate(1234.5)]).toEqual(['0', '9.0', '38.5', '1,235'])
  expect([percent(0.5), percent(1), percent(0.0004)]).toEqual(['50.0%', '100.0%', '0.0%'])
  expect([' a', '\n', ''].map(visible)).toEqual(['␣a', '↵', '∅'])
})
