/** What must stand in the C environment before a plugin is loaded. */
import { closeSync, openSync, readSync } from 'node:fs'
import koffi from '../../io/koffi.ts'

const nameOf = (flag: string): string => flag.slice(2, flag.indexOf('='))

/** The user's flags with ours after them; one that the user has set stays the user's, and so does a file of flags. */
export function mergeFlags(users: string, ours: readonly string[]): string {
  const given = users.trim()
  if (given !== '' && !given.startsWith('-')) return given
  return [given, ...ours.filter((flag) => !given.includes(nameOf(flag)))].filter((part) => part !== '').join(' ')
}

/** Which of some short texts stand in a file. */
function textsIn(path: string, texts: readonly string[]): ReadonlySet<string> {
  const overlap = 128
  const chunk = Buffer.alloc(4 << 20)
  const found = new Set<string>()
  const file = openSync(path, 'r')
  try {
    for (let at = 0; found.size < texts.length; at += chunk.length - overlap) {
      const part = chunk.subarray(0, readSync(file, chunk, 0, chunk.length, at))
      for (const text of texts) if (!found.has(text) && part.includes(text)) found.add(text)
      if (part.length < chunk.length) break
    }
  } finally {
    closeSync(file)
  }
  return found
}

export const containsText = (file: string, text: string): boolean => textsIn(file, [text]).has(text)

/** A flag's name, and its value where that is a word of XLA's. */
const words = (flag: string): string[] => [nameOf(flag), ...flag.match(/[A-Z][A-Z_]+$/) ?? []]

/** Those of `flags` that the library knows: XLA ends the process over an unknown one, or a value that is none, so both are looked for in the file. */
export function knownFlags(library: string, flags: readonly string[]): string[] {
  const found = textsIn(library, [...new Set(flags.flatMap(words))])
  return flags.filter((flag) => words(flag).every((word) => found.has(word)))
}

/** What a platform wants to be set before its plugin is loaded. */
interface Wanted { readonly flags: () => readonly string[]; readonly environment: (threads?: number) => Readonly<Record<string, string>> }

/** Sets what XLA reads at load, and returns XLA_FLAGS. Through libc: in a worker thread `process.env` is only a copy. */
export function prepareEnvironment(library: string, wanted: Wanted, threads?: number): string {
  const setenv = koffi.load(null).func('setenv', 'int', ['str', 'str', 'int'])
  const ours = wanted.flags()
  const flags = mergeFlags(process.env['XLA_FLAGS'] ?? '', ours.length === 0 ? [] : knownFlags(library, ours))
  // A variable that is set stays as it is, so that whoever asked for more of XLA's log lines gets them.
  setenv('TF_CPP_MIN_LOG_LEVEL', '2', 0)
  for (const [name, value] of Object.entries(wanted.environment(threads))) setenv(name, value, 0)
  if (flags !== '') setenv('XLA_FLAGS', flags, 1)
  return flags
}
