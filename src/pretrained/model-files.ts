/** What stands beside a model's weights: small files of JSON, the tokens that end its texts, its template of chats. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import type { Plain, PlainObject } from '../core/plain.ts'
import { templateOf, type ChatTemplate, type Tokenizer } from '../data/index.ts'
import { chatTemplateIn } from './chat-template.ts'
import type { Pretrained } from './pretrained.ts'

const largest = 2 ** 20
/** A small file of JSON beside a model; undefined where there is none. */
export async function jsonBeside(folder: string, name: string): Promise<Plain | undefined> {
  const path = join(folder, name)
  const info = await stat(path).catch(() => undefined)
  if (info === undefined) return undefined
  if (info.size > largest) throw new FileError({ code: 'config', what: `${path} has ${info.size} bytes`, fix: 'copy the model\'s own there' })
  try { return JSON.parse(await readFile(path, 'utf8')) as Plain } catch (cause) { throw new FileError({ code: 'config', what: `${path} is not JSON`, fix: 'copy the model\'s own there', cause }) }
}

/** What is known of a model that has a tokenizer. */
interface Known { readonly given: Pretrained; readonly tokenizer: Tokenizer }

/** The model's own template of chats. @throws FileError where it cannot be read */
export async function templateIn({ given, tokenizer }: Known): Promise<ChatTemplate | undefined> {
  const found = await chatTemplateIn(given, tokenizer)
  return found === undefined ? undefined : templateOf(found)
}

/** Tokens that end a text: the model's own, and the tokenizer's. */
export async function endsIn(folder: string, { given, tokenizer }: Known): Promise<readonly number[]> {
  const settings = await jsonBeside(folder, 'generation_config.json') as PlainObject | null | undefined
  const all: readonly (Plain | undefined)[] = [given.config['eos_token_id'], settings?.['eos_token_id'], tokenizer.endOfText]
  return [...new Set(all.flat().filter((id): id is number => typeof id === 'number'))].sort((a, b) => a - b)
}
