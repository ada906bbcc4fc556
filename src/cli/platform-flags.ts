/** `--platform KEY=VALUE…`: what the platform is told, by the fields of `openBackend`'s option of that name. */
import { Option } from 'commander'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { checkValues, fields, fieldNames, type OptionValue, type PlatformOptions } from '../runtime/pjrt/platform-options.ts'

const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what: `--platform: ${what}`, fix })
const example = '--platform memory.fraction=0.8'

const truths: { readonly [text: string]: boolean } = { true: true, false: false }
const numbered = (text: string): number | string => (text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text))
/** What the text is, as far as the text alone tells. */
const plain = (text: string): string | number | boolean => truths[text] ?? numbered(text)
const listed = (text: string): string[] => (text === '' || text === 'none' ? [] : text.split(','))

type Is = (typeof fields)[keyof typeof fields]['is']
const parsed: { readonly [I in Is]: (text: string) => unknown } = {
  share: numbered, whole: numbered, flag: text => truths[text] ?? text, text: text => text, word: text => text,
  numbers: text => listed(text).map(numbered), words: listed,
}

type Tree = { readonly [key: string]: unknown }
const isTree = (x: unknown): x is Tree => typeof x === 'object' && x !== null && !Array.isArray(x)
const put = (tree: Tree, [key = '', ...rest]: readonly string[], value: unknown): Tree => {
  const now = tree[key]
  return { ...tree, [key]: rest.length === 0 ? value : put(isTree(now) ? now : {}, rest, value) }
}

/** One more `KEY=VALUE` over what was said before. @throws UsageError */
function withOption(text: string, before: PlatformOptions = {}): PlatformOptions {
  const at = text.indexOf('=')
  if (at < 1) throw wrong(`"${text}" is not KEY=VALUE`, `for example ${example}; keys: ${fieldNames.join(', ')}`)
  const [path, value] = [text.slice(0, at), text.slice(at + 1)]
  const client = /^client\.(\w+)$/.exec(path)?.[1]
  if (client !== undefined) {
    const list = value.split(',').map(plain)
    const typed = list.length > 1 && list.every(v => typeof v === 'number') ? list : plain(value)
    return { ...before, client: { ...before.client, [client]: typed as OptionValue } }
  }
  const name = fieldNames.find(n => n === path) as keyof typeof fields | undefined
  if (name === undefined) throw wrong(`there is no "${path}"`, didYouMean(path, fieldNames))
  const options = put(before as Tree, path.split('.'), parsed[fields[name].is](value)) as PlatformOptions
  checkValues(options)
  return options
}

const rows = (): string => {
  const width = Math.max(...fieldNames.map(n => n.length)) + 2
  return Object.entries(fields).map(([name, field]) => `  ${name.padEnd(width)}${field.about}${'of' in field ? ` (${field.of.join(', ')})` : ''}: ${field.on.length > 2 ? (name === 'contractions' ? 'f32 everywhere, more where the platform has it' : 'any plugin') : field.on.join(', ')}`).join('\n')
}
/** The keys, for the end of a command's help. */
export const platformHelp = (): string => `\nKeys of --platform, such as ${example} contractions=tf32:\n${rows()}\n  client.NAME  any other option of the plugin's client`

export const platformOption = (): Option => new Option('--platform <key=value...>', 'what the platform is told, such as memory.fraction=0.8 or contractions=tf32 (keys: npx meshwork train --help)').argParser(withOption)
