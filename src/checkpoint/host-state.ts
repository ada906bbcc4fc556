/** What a checkpoint holds beside arrays, as JSON that gives back what it was given: also NaN, infinities, −0 and whole numbers beyond 2⁵³. */
import { DimError } from '../core/errors.ts'
import type { Plain as Json } from '../core/plain.ts'
import { shown } from '../core/shown.ts'

export type HostState = null | boolean | number | bigint | string | readonly HostState[] | { readonly [key: string]: HostState }
export type { Plain as Json } from '../core/plain.ts'

/** Numbers that JSON lacks are objects of this one key; a key of the user's that begins alike gets one more. */
const tag = '$number'
const escaped = (key: string): string => (key.startsWith(tag) ? `${tag}${key}` : key)
const plain = (key: string): string => (key.startsWith(tag) ? key.slice(tag.length) : key)

/** @throws DimError that names the place of what is no such value: undefined, a function, an array over a mesh */
export function encodeHost(value: unknown, path = 'host'): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint') return { [tag]: `${value}n` }
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : { [tag]: Object.is(value, -0) ? '-0' : String(value) }
  if (Array.isArray(value)) return value.map((v, i) => encodeHost(v, `${path}.${i}`))
  if (typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)) {
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [escaped(key), encodeHost(v, `${path}.${key}`)]))
  }
  throw new DimError({ code: 'host-state', what: `${path} is ${shown(value)}, which cannot be saved as JSON`, fix: 'give numbers, bigints, text, true or false, null, and lists and objects of them; arrays over the mesh belong to the other parts' })
}

export function decodeHost(value: Json): HostState {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(decodeHost)
  const entries = Object.entries(value)
  const [only] = entries
  if (entries.length === 1 && only?.[0] === tag && typeof only[1] === 'string') {
    const text = only[1]
    return /^-?\d+n$/.test(text) ? BigInt(text.slice(0, -1)) : Number(text)
  }
  return Object.fromEntries(entries.map(([key, v]) => [plain(key), decodeHost(v as Json)]))
}
