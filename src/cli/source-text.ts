/** The text of source files that a program names as where its ops come from. */
import { readFileSync, statSync } from 'node:fs'

const mostBytes = 2 ** 20

/** Each file is read once; what cannot be read, as the sources of an installed package, has none. Names are those of errors, from where the process was started. */
export function sourceText(): (file: string) => string | undefined {
  const known = new Map<string, string | undefined>()
  const read = (file: string): string | undefined => {
    try {
      return /\.[mc]?[jt]sx?$/.test(file) && statSync(file).size <= mostBytes ? readFileSync(file, 'utf8') : undefined
    } catch { return undefined }
  }
  return file => {
    if (!known.has(file)) known.set(file, read(file))
    return known.get(file)
  }
}
