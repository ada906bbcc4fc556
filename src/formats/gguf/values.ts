/** Metadata asked for by key, of the kind that is expected. */
import { FileError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import type { Metadata, MetadataValue } from './metadata.ts'

export interface Values {
  readonly keys: readonly string[]
  /** A number; of f32 the shortest that is the same f32, as people write them. @throws FileError where it is something else */
  number(key: string): number | undefined
  text(key: string): string | undefined
  truth(key: string): boolean | undefined
  texts(key: string): readonly string[] | undefined
  numbers(key: string): readonly number[] | undefined
}

/** The shortest decimal that is the same f32. */
export function shortest(x: number): number {
  for (let digits = 1; digits < 10; digits++) {
    const found = Number(x.toPrecision(digits))
    if (Math.fround(found) === x) return found
  }
  return x
}

export const unfit = (path: string, key: string, reason: string, fix = 'convert the model again'): FileError =>
  new FileError({ code: 'gguf-value', what: `${path}: ${key} ${reason}`, fix })

export function valuesOf(path: string, metadata: Metadata): Values {
  const take = <T>(key: string, wanted: string, pick: (found: MetadataValue) => T | undefined): T | undefined => {
    const found = metadata.get(key)
    if (found === undefined) return undefined
    const value = pick(found)
    if (value === undefined) throw unfit(path, key, `is ${shown(found.value)}, and is to be ${wanted}`)
    return value
  }
  const finite = (x: number): number | undefined => (Number.isFinite(x) ? x : undefined)
  return {
    keys: [...metadata.keys()],
    number: key => take(key, 'a number', found => (typeof found.value === 'number' ? finite(found.type === 'f32' ? shortest(found.value) : found.value) : undefined)),
    text: key => take(key, 'text', found => (typeof found.value === 'string' ? found.value : undefined)),
    truth: key => take(key, 'a truth value', found => (typeof found.value === 'boolean' ? found.value : undefined)),
    texts: key => take(key, 'a list of texts', found => (found.type === 'array' && found.of === 'string' ? found.value as readonly string[] : undefined)),
    numbers: key => take(key, 'a list of numbers', found => (found.type === 'array' && found.of !== 'string' ? Array.from(found.value as ArrayLike<number | bigint>, Number) : undefined)),
  }
}
