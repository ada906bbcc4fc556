/** Items for every task, as files beside tiny models: what tests measure, and judges too. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tinyClassifier, tinyEmbedder, tinyLlama, tinyMasked } from '../support/tiny-models.ts'

const jsonl = (items: readonly object[]): string => items.map(item => `${JSON.stringify(item)}\n`).join('')
const long = Array.from({ length: 40 }, (_, i) => ['the people', 'hold these words', 'of a nation', 'to be good'][i % 4]).join(' ')

export const files: { readonly [name: string]: string } = {
  'texts.jsonl': jsonl([{ text: 'The people of a nation.' }, { text: `${long}. Ænd 東京!` }, { text: 'a' }, { text: 'the the the the' }]),
  'chats.jsonl': jsonl([
    { messages: [{ role: 'user', content: 'Hi!' }, { role: 'assistant', content: 'the answer' }, { role: 'user', content: 'More' }, { role: 'assistant', content: 'is here' }] },
    { messages: [{ role: 'user', content: 'What?' }, { role: 'assistant', content: `A long one: ${long.slice(0, 80)}` }] },
  ]),
  'plain.jsonl': jsonl([{ text: 'the people of these words' }, { text: 'peace to be good, war to be bad.' }, { text: long.slice(0, 130) }]),
  'choices.jsonl': jsonl([
    { prompt: 'The answer is', choices: ['yes', 'no', 'the other one'], answer: 'B' }, { question: 'What is it?', choices: ['a thing', 'the thing'], answer: 1 },
    { context: 'A story. ', question: 'Whose?\n', choices: ['Ours', ' Theirs'], answer: 'Ours' }, { prompt: '', choices: ['the', 'a thing'], answer: 0 },
    { prompt: long, choices: ['of these', 'Ænd'], answer: 'A' },
  ]),
  'labels.jsonl': jsonl([
    { text: 'the people hold peace', label: 'good' }, { text: 'war', label: 0 }, { text: 'good words', pair: 'bad words', label: 'bad' }, { text: long, pair: 'peace to be', label: 1 }, { text: 'war of words', pair: long, label: 1 },
    { text: long, label: 'good' }, { text: long, pair: long, label: 'bad' },
  ]),
  'pairs.jsonl': jsonl([
    { a: 'the people hold peace', b: 'people of peace', score: 4 }, { a: 'war is bad', b: 'peace', score: 1 }, { a: 'good words', b: 'bad words', score: 2.5 }, { a: long, b: `${long} ${long}`, score: 4 }, { a: 'nation', b: 'zebra', score: 0 },
  ]),
  'prompts.jsonl': jsonl([
    { prompt: 'The people', answer: 'hold it' }, { prompt: 'the the', answers: ['the words', 'these'] }, { messages: [{ role: 'user', content: 'Hi!' }], answer: 'the answer' }, { prompt: long, answer: 'good' },
  ]),
}

/** A folder with all of it. */
export function writeTasks(at: string): void {
  mkdirSync(at, { recursive: true })
  for (const [name, content] of Object.entries(files)) writeFileSync(join(at, name), content)
  tinyEmbedder(join(at, 'embedder'))
  tinyClassifier(join(at, 'classifier'))
  tinyMasked(join(at, 'masked'))
  tinyLlama(join(at, 'llama'))
}

/** How each of them is measured: its model, its data, and what else is said. */
export const measured: { readonly [name: string]: { readonly task: string; readonly model: string; readonly data: string; readonly args: readonly string[] } } = {
  loss: { task: 'loss', model: 'llama', data: 'texts.jsonl', args: ['--seq', '32'] }, chats: { task: 'loss', model: 'llama', data: 'chats.jsonl', args: [] }, masked: { task: 'loss', model: 'masked', data: 'plain.jsonl', args: ['--seq', '20'] },
  choice: { task: 'choice', model: 'llama', data: 'choices.jsonl', args: [] }, classify: { task: 'classify', model: 'classifier', data: 'labels.jsonl', args: [] }, embed: { task: 'embed', model: 'embedder', data: 'pairs.jsonl', args: [] },
  generate: { task: 'generate', model: 'llama', data: 'prompts.jsonl', args: ['--tokens', '6'] },
}
