/** What an error's fix proposes, as command lines that can be run: each with the mistake mended. */
import { dirname, join } from 'node:path'
import { nearest } from '../../src/core/nearest.ts'

/** What stands for something of the user's own, and something that it can be. `undefined` where a test has nothing of the kind. */
export type Placeholders = { readonly [word: string]: string | undefined }

/** Words of a command line as a shell splits them; what a sentence puts behind them is taken off. */
const wordsOf = (text: string): string[] => [...text.matchAll(/(?:[^\s'"`]|'[^']*')+/g)].map(([word]) => word.replaceAll(/'([^']*)'/g, '$1').replace(/[,;.)]+$/, ''))

/** Flags that say the same thing: who follows the advice to give one leaves the others out. */
const rivals: { readonly [flag: string]: readonly string[] } = { '--mesh': ['--batch', '--model'], '--batch': ['--mesh'], '--model': ['--mesh'] }

/** Flags that take several values. */
const many: readonly string[] = ['--data', '--set', '--only', '--except']

/** Takes a flag and its values out of a command line. */
function without(args: readonly string[], flag: string): string[] {
  const kept: string[] = []
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg.startsWith(`${flag}=`)) continue
    if (arg !== flag) kept.push(arg)
    else while (!(args[++i + 1] ?? '--').startsWith('--') && many.includes(flag));
  }
  return kept
}

/** A word that was misspelt, mended; of a path of keys or names, its part. */
function mended(args: readonly string[], wrong: readonly string[], right: string): string[] | undefined {
  const found = args.findIndex(arg => wrong.some(w => arg.split(/[=,]/).includes(w) || arg === w))
  const arg = args[found]
  if (arg === undefined) return undefined
  if (arg.includes('/')) return args.with(found, join(dirname(arg), right))
  const parts = arg.split(/([=,./])/)
  const odd = nearest(right, parts.filter(part => part.length > 1 && part !== right))
  const at = parts.findLastIndex(part => part === odd)
  return at < 0 ? undefined : args.with(found, parts.with(at, right).join(''))
}

/**
 * Command lines, without `meshwork`, that follow a fix; alternatives are one each. `args` is the line that failed, `message` the error's text.
 * Prose that names no flag, no command and no nearest word proposes nothing that could be run.
 */
export function proposals(message: string, args: readonly string[], placeholders: Placeholders): string[][] {
  const fix = /^ {2}fix +(.*)$/m.exec(message)?.[1] ?? ''
  const [first = ''] = message.split('\n')
  const found: string[][] = []
  const [, meant] = /did you mean "([^"]+)"/.exec(fix) ?? []
  if (meant !== undefined) {
    const wrong = [...first.matchAll(/"([^"]+)"/g)].map(([, word]) => word ?? '').concat(first.split(' ').slice(1))
    // It may be a file's word, not the line's.
    const line = mended(args, wrong, meant)
    if (line !== undefined) found.push(line)
  }
  // What there is to choose from is no advice to take all of it.
  const advice = fix.replace(/there are: .*/, '')
  for (const alternative of advice.split(/,? or |; | after /)) {
    const command = /npx meshwork ([^,;`]+)/.exec(alternative)?.[1]
    if (command !== undefined) {
      const words = wordsOf(command)
      if (!words.some(word => word in placeholders)) found.push(words)
      continue
    }
    let next: string[] | undefined
    const words = wordsOf(alternative)
    for (let i = 0; i < words.length; i++) {
      const flag = words[i] ?? ''
      if (!/^--[a-z][a-z-]*$/.test(flag) || words[i + 1] === undefined) continue
      const value = (words[i + 1] ?? '').replaceAll(/[A-Z]{2,}|\bN\b/g, word => placeholders[word] ?? (word in placeholders ? '?' : word))
      if (value.includes('?')) continue
      const rest = [flag, ...rivals[flag] ?? []].reduce<string[]>((all, f) => (f === '--set' ? all : without(all, f)), next ?? [...args])
      next = flag === '--set' ? withSetting(rest, value) : [...rest, flag, value]
      i++
    }
    if (next !== undefined) found.push(next)
  }
  return found
}

/** A setting instead of the one that was wrong: the last, or what lies below it. */
function withSetting(args: readonly string[], setting: string): string[] {
  const key = setting.split('=')[0] ?? ''
  const rest = args.filter(arg => !(arg.startsWith(`${key}.`) || arg.startsWith(`${key}=`) || (args[args.indexOf(arg) - 1] === '--set' && arg.indexOf('=') < 1)))
  return [...rest.filter((arg, i) => arg !== '--set' || (rest[i + 1] !== undefined && !(rest[i + 1] ?? '').startsWith('--'))), '--set', setting]
}
