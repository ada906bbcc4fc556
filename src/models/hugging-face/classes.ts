/** What the configurations of classifiers and encoders have beside others'. */
import type { Activation } from '../activation.ts'
import type { Json, JsonObject } from './architecture.ts'
import type { Settings } from './settings.ts'

/** Activations by their names there; what is written is the first of each. */
const activations: { readonly [name: string]: Activation } = { gelu: 'geluExact', gelu_new: 'gelu', gelu_pytorch_tanh: 'gelu', relu: 'relu', silu: 'silu', swish: 'silu' }
export const activationThere = (ours: Activation): string => Object.keys(activations).find(name => activations[name] === ours) ?? ours
export const activationNamed = (name: string): Activation | undefined => (Object.hasOwn(activations, name) ? activations[name] : undefined)
export const activationsThere: readonly string[] = Object.keys(activations)
export const activationOf = (c: Settings, key: string, fallback: string): Activation => activationNamed(c.oneOf(key, activationsThere, fallback)) ?? 'geluExact'

/** A share to drop. */
export function rateOf(c: Settings, key: string, fallback: number): number {
  const rate = c.number(key, fallback)
  if (rate < 0 || rate > 0.9) throw c.wrong(key, 'give it a share from 0 to 0.9')
  return rate
}
/** A token's id. */
export function idOf(c: Settings, key: string, fallback: number): number {
  const id = c.number(key, fallback)
  if (!Number.isSafeInteger(id) || id < 0) throw c.wrong(key, 'give it a whole number of at least 0')
  return id
}
/** Heads that make up `hidden_size`, and it. */
export function headsOf(c: Settings): { readonly embed: number; readonly heads: number } {
  const [embed, heads] = [c.count('hidden_size'), c.count('num_attention_heads')]
  if (embed % heads !== 0) throw c.wrong('num_attention_heads', `give it a number that divides hidden_size, ${embed}`)
  return { embed, heads }
}
const isSize = (x: Json | undefined): x is number => Number.isSafeInteger(x) && (x as number) >= 1
/** An image's or a patch's height and width: one number for both, or two. */
export function heightAndWidth(c: Settings, key: string, fallback: number): readonly [number, number] {
  const value = c.raw(key) ?? fallback
  const [a, b, more] = Array.isArray(value) ? value as readonly Json[] : [value, value]
  if (!isSize(a) || !isSize(b) || more !== undefined) throw c.wrong(key, 'give it a whole number of at least 1, or two')
  return [a, b]
}
export function sizesOf(c: Settings, key: string): readonly number[] {
  const value = c.raw(key)
  if (!Array.isArray(value) || value.length === 0 || !value.every(isSize)) throw c.wrong(key, 'give it a list of whole numbers of at least 1')
  return value
}

/** How many classes there are; `transformers` has two where nothing says so. */
export function classesOf(c: Settings): number {
  c.only('problem_type', 'single_label_classification')
  const [labels, number] = [c.raw('id2label'), c.count('num_labels', 2)]
  const classes = typeof labels === 'object' && labels !== null && !Array.isArray(labels) ? Object.keys(labels).length : number
  if (c.has('num_labels') && number !== classes) throw c.wrong('num_labels', `give it ${classes}, as many as id2label has`)
  if (classes < 2) throw c.wrong(c.has('id2label') ? 'id2label' : 'num_labels', 'take a model of two classes or more: one that tells a number is not computed')
  return classes
}
/** The same as `transformers` reads it. */
export function classesThere(classes: number): JsonObject {
  const labels = Array.from({ length: classes }, (_, i) => `LABEL_${i}`)
  return { problem_type: 'single_label_classification', id2label: Object.fromEntries(labels.map((l, i) => [String(i), l])), label2id: Object.fromEntries(labels.map((l, i) => [l, i])) }
}
