/** The chat template that lies beside a model, with what it names. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { templateOf, type ChatTemplate } from '../data/index.ts'
import type { Plain } from '../core/plain.ts'
import { jsonBeside } from './measured-model.ts'

const largest = 2 ** 20
type Settings = { readonly [name: string]: Plain }

/** A token as tokenizer_config.json has it: its text, or an object with it. */
const tokenOf = (value: Plain | undefined): string | undefined => (typeof value === 'string' ? value : typeof value === 'object' && value !== null && 'content' in value && typeof value.content === 'string' ? value.content : undefined)

/** `chat_template.jinja`, or what `tokenizer_config.json` has: one template, or the one called "default". Undefined where there is none. @throws DataError where it is no template */
export async function chatTemplateBeside(folder: string): Promise<ChatTemplate | undefined> {
  const file = join(folder, 'chat_template.jinja')
  const info = await stat(file).catch(() => undefined)
  const settings = (await jsonBeside(folder, 'tokenizer_config.json') ?? {}) as Settings
  const given = settings['chat_template']
  const named = Array.isArray(given) ? (given as readonly Settings[]).find(t => t['name'] === 'default')?.['template'] : given
  const jinja = info !== undefined && info.size <= largest ? await readFile(file, 'utf8') : typeof named === 'string' ? named : undefined
  if (jinja === undefined) return undefined
  const tokens = ['bos_token', 'eos_token', 'unk_token', 'pad_token'].flatMap(name => { const text = tokenOf(settings[name]); return text === undefined ? [] : [[name, text] as const] })
  return templateOf({ jinja, variables: Object.fromEntries(tokens) })
}
