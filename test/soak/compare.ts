/** Whether two run folders hold the same run: weights, slots, metrics and TensorBoard's events, all but times. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { crc32c } from '../../src/train/tensorboard.ts'

export interface Scalar { readonly step: number; readonly tag: string; readonly value: number }

/** The lines of metrics.jsonl, without what the machine had to do with them. */
export const metricsOf = (folder: string): readonly { readonly [field: string]: unknown }[] => readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map(line => {
  const { time: _, ...row } = JSON.parse(line) as { readonly [field: string]: unknown }
  return row
})

/** Goes over a message: calls what is there for a field, and passes over the others. */
function fields(reader: BinaryReader, length: number, known: { readonly [no: number]: (reader: BinaryReader) => void }): void {
  for (const end = reader.pos + length; reader.pos < end;) {
    const [no, type] = reader.tag()
    const read = known[no]
    if (read === undefined) reader.skip(type)
    else read(reader)
  }
}

/** The scalars of a folder's event file, in its order. @throws where there is not one file, or a frame does not verify: what TensorBoard would stop at */
export function eventsOf(folder: string): readonly Scalar[] {
  const names = readdirSync(folder).filter(n => n.startsWith('events.out.tfevents.'))
  if (names.length !== 1) throw new Error(`${folder} has ${names.length} event files`)
  const bytes = readFileSync(join(folder, names[0] ?? ''))
  const masked = (data: Uint8Array): number => { const crc = crc32c(data); return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0 }
  const found: Scalar[] = []
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at))
    const data = bytes.subarray(at + 12, at + 12 + length)
    if (masked(bytes.subarray(at, at + 8)) !== bytes.readUInt32LE(at + 8) || masked(data) !== bytes.readUInt32LE(at + 12 + length)) throw new Error(`a torn frame at ${at} of ${names[0]}`)
    at += length + 16
    let [step, tag, value] = [0, '', NaN]
    const inner = (known: Parameters<typeof fields>[2]) => (r: BinaryReader): void => { fields(r, r.uint32(), known) }
    fields(new BinaryReader(data), data.length, {
      2: r => { step = Number(r.int64()) },
      5: inner({ 1: inner({ 1: r => { tag = r.string() }, 2: r => { value = r.float() } }) }),
    })
    if (tag !== '') found.push({ step, tag, value })
  }
  return found
}
/** Those that a run's numbers decide. */
export const numbersOf = (folder: string): readonly Scalar[] => eventsOf(folder).filter(({ tag }) => /^(train|eval)[/]/.test(tag))
/** What TensorBoard would draw twice, or backwards. */
export function disorder(scalars: readonly Scalar[]): string | undefined {
  const last = new Map<string, number>()
  for (const { step, tag } of scalars) {
    if (step <= (last.get(tag) ?? -1)) return `${tag} of step ${step} comes after that of ${last.get(tag)}`
    last.set(tag, step)
  }
  return undefined
}

const digest = (path: string): string => (existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'none')
/** Hashes of a checkpoint's tensors, of the newest unless a step is given; its manifest has the run's own id. */
export function tensorsOf(folder: string, step?: number): { readonly [file: string]: string } {
  const at = join(folder, 'checkpoints')
  const newest = readdirSync(at).filter(n => /^step-\d+$/.test(n)).sort((a, b) => Number(b.slice(5)) - Number(a.slice(5)))[0] ?? ''
  const name = step === undefined ? newest : `step-${step}`
  return Object.fromEntries(readdirSync(join(at, name)).filter(n => n.endsWith('.safetensors')).sort().map(n => [`${name}/${n}`, digest(join(at, name, n))]))
}

/** The first difference between two lists, in words. */
function firstDifference(what: string, a: readonly unknown[], b: readonly unknown[]): string[] {
  const at = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).find(i => JSON.stringify(a[i]) !== JSON.stringify(b[i]))
  return at === undefined ? [] : [`${what} ${at + 1} of ${a.length} and ${b.length}: ${JSON.stringify(a[at])} and ${JSON.stringify(b[at])}`]
}

/** How a run differs from the undisturbed one; empty where it does not, bit for bit. */
export function differences(calm: string, other: string): readonly string[] {
  const named = (folder: string): readonly [string, string][] => [
    ...['model.safetensors', 'config.json', 'tokenizer.json', 'summary.json'].map(n => [n, digest(join(folder, n))] as [string, string]), ...Object.entries(tensorsOf(folder)),
  ]
  const wild = disorder(eventsOf(other))
  return [
    ...firstDifference('the file', named(calm), named(other)),
    ...firstDifference('the line of metrics', metricsOf(calm), metricsOf(other)),
    ...firstDifference('the event', numbersOf(calm).map(e => [e.step, e.tag, String(e.value)]), numbersOf(other).map(e => [e.step, e.tag, String(e.value)])),
    ...(wild === undefined ? [] : [`events: ${wild}`]),
    ...readdirSync(join(other, 'checkpoints')).filter(n => !/^step-\d+$/.test(n)).map(n => `left behind: ${n}`),
  ]
}
