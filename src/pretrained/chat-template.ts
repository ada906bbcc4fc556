/** The chat template that a model's folder holds, with what it names. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import type { Plain, PlainObject } from '../core/plain.ts'
import { readAdapters } from '../checkpoint/index.ts'
import type { JinjaTemplate, Tokenizer } from '../data/index.ts'
import { chatTemplateOf, openGgufModel } from '../formats/index.ts'
import { isSystemError } from '../io/atomic.ts'
import type { Pretrained } from './pretrained.ts'

const largest = 2 ** 24
const isObject = (x: Plain | undefined): x is PlainObject => typeof x === 'object' && x !== null && !Array.isArray(x)

/** The text of a file of some folder, the first that has it. */
async function textIn(folders: readonly string[], name: string): Promise<{ readonly file: string; readonly text: string } | undefined> {
  for (const folder of folders) {
    const file = join(folder, name)
    const text = await readFile(file, 'utf8').catch((cause: unknown) => { if (isSystemError(cause)) return undefined; throw cause })
    if (text === undefined) continue
    if (text.length > largest) throw new FileError({ code: 'config', what: `${file} has ${text.length} characters, which no such file has`, fix: 'give the model\'s own' })
    return { file, text }
  }
  return undefined
}

async function objectIn(folders: readonly string[], name: string): Promise<PlainObject> {
  const found = await textIn(folders, name)
  if (found === undefined) return {}
  let value: Plain
  try { value = JSON.parse(found.text) as Plain } catch (cause) { throw new FileError({ code: 'config', what: `${found.file} is not JSON`, fix: 'write or copy it again', cause }) }
  return isObject(value) ? value : {}
}

/** A token as configurations of tokenizers have it: its text, or an object that has it. */
const tokenText = (x: Plain | undefined): string | undefined => (typeof x === 'string' ? x : isObject(x) && typeof x['content'] === 'string' ? x['content'] : undefined)
const tokenNames = ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'sep_token', 'cls_token', 'mask_token'] as const

/**
 * The template of a model: `chat_template.jinja`, or `chat_template` of its `tokenizer_config.json`, of several the one that is called `default`; with the tokens that
 * those files, or the ids of its `config.json`, name. Undefined where it has none. @throws FileError where a file cannot be read
 */
export async function chatTemplateIn({ folder, config }: Pick<Pretrained, 'folder' | 'config'>, tokenizer: Pick<Tokenizer, 'tokens'>): Promise<JinjaTemplate | undefined> {
  if (folder.endsWith('.gguf')) return ofGguf(folder, config, tokenizer)
  const base = (await readAdapters(folder))?.base
  const folders = base === undefined ? [folder] : [folder, base]
  const [own, special] = [await objectIn(folders, 'tokenizer_config.json'), await objectIn(folders, 'special_tokens_map.json')]
  const named = own['chat_template']
  const listed = Array.isArray(named) ? (named as readonly Plain[]).filter(isObject).find(t => t['name'] === 'default')?.['template'] : named
  const jinja = (await textIn(folders, 'chat_template.jinja'))?.text ?? (typeof listed === 'string' ? listed : undefined)
  if (jinja === undefined) return undefined
  return { jinja, variables: tokensOf(name => tokenText(own[name]) ?? tokenText(special[name]) ?? byId(name, config, tokenizer)) }
}

async function ofGguf(file: string, config: PlainObject, tokenizer: Pick<Tokenizer, 'tokens'>): Promise<JinjaTemplate | undefined> {
  await using model = await openGgufModel(file)
  const jinja = chatTemplateOf(file, model.file.metadata)
  return jinja === undefined ? undefined : { jinja, variables: tokensOf(name => byId(name, config, tokenizer)) }
}

const byId = (name: string, config: PlainObject, { tokens }: Pick<Tokenizer, 'tokens'>): string | undefined => { const id = config[`${name}_id`]; return typeof id === 'number' ? tokens[id] : undefined }
const tokensOf = (text: (name: string) => string | undefined): { readonly [name: string]: string } => Object.fromEntries(tokenNames.flatMap(name => { const found = text(name); return found === undefined ? [] : [[name, found]] }))
