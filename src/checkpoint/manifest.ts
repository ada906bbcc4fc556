/** The manifest of a checkpoint: what it holds, by path, and the checksums that all of it is read by. It is written last and has a checksum of its own. */
import { z } from 'zod'
import { sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { sha256 } from '../io/checksum.ts'
import { joinCrc } from '../io/crc.ts'
import { damaged } from '../io/ranged.ts'
import type { Json } from './host-state.ts'

export const manifestName = 'manifest.json'
const format = 'meshwork-checkpoint'

/** Weights lie as other tools expect them, everything else beside them. */
export type Group = 'weights' | 'state'

export interface TensorRecord {
  readonly group: Group
  /** The path in the tree, which is also the name in the file. */
  readonly path: string
  readonly dtype: DType
  /** In memory order, row-major. */
  readonly dims: readonly Dim[]
  readonly file: string
}

export interface FileRecord {
  readonly name: string
  readonly bytes: number
  /** CRC-32 of each chunk. */
  readonly crcs: Uint32Array
}

export interface Manifest {
  /** Steps that were taken. */
  readonly step: number
  /** Of the run that wrote it: the same through all its resumptions. */
  readonly runId: string
  readonly heldOutLoss: number | undefined
  readonly versions: { readonly [of: string]: string }
  /** The resolved run. */
  readonly run: Json
  readonly host: Json
  /** Bytes that one checksum is of. */
  readonly chunk: number
  readonly files: readonly FileRecord[]
  readonly tensors: readonly TensorRecord[]
}

const count = z.int().nonnegative()
const json = z.custom<Json>(() => true)
const dtypeNames = Object.keys(dtypes) as [DType, ...DType[]]
/** A file of the folder itself, never one of another. */
const fileName = z.string().regex(/^[A-Za-z0-9][\w.-]*$/)
const schema = z.object({
  format: z.literal(format), version: z.literal(1), step: count, runId: z.string(), heldOutLoss: z.number().nullable(),
  versions: z.record(z.string(), z.string()), run: json, host: json, chunk: z.int().positive().max(2 ** 26),
  files: z.array(z.object({ name: fileName, bytes: count, crc32: z.string(), chunks: z.string().regex(/^([0-9a-f]{8})*$/) })),
  tensors: z.array(z.object({ group: z.enum(['weights', 'state']), path: z.string(), dtype: z.enum(dtypeNames), dims: z.array(z.tuple([z.string(), count])), file: z.string() })),
})

const hex = (n: number): string => n.toString(16).padStart(8, '0')
const list = (values: readonly unknown[]): string => (values.length === 0 ? '[]' : `[\n${values.map(v => JSON.stringify(v)).join(',\n')}\n]`)

/** The CRC-32 of a whole file, as other tools compute it. */
const crcOfFile = ({ bytes, crcs }: FileRecord, chunk: number): string =>
  hex(crcs.reduce((all, crc, i) => joinCrc(all, crc, Math.min(chunk, bytes - i * chunk)), 0))

/** Equal checkpoints have equal manifests, byte for byte: there is no clock in them, and no mesh. */
export function formatManifest(m: Manifest): string {
  const fields: readonly (readonly [string, string])[] = [
    ['format', JSON.stringify(format)], ['version', '1'], ['step', String(m.step)], ['runId', JSON.stringify(m.runId)],
    ['heldOutLoss', JSON.stringify(m.heldOutLoss ?? null)], ['versions', JSON.stringify(m.versions)], ['run', JSON.stringify(m.run)], ['host', JSON.stringify(m.host)],
    ['chunk', String(m.chunk)],
    ['files', list(m.files.map(f => ({ name: f.name, bytes: f.bytes, crc32: crcOfFile(f, m.chunk), chunks: Array.from(f.crcs, hex).join('') })))],
    ['tensors', list(m.tensors.map(({ group, path, dtype, dims, file }) => ({ group, path, dtype, dims: dims.map(d => [d.name, d.size]), file })))],
  ]
  return wrap(`{\n${fields.map(([key, value]) => `"${key}": ${value}`).join(',\n')}\n}`)
}

const wrap = (body: string): string => `{"sha256":"${sha256(body)}",\n"manifest":${body}}\n`
const wrapped = /^\{"sha256":"([0-9a-f]{64})",\n"manifest":([^]*)\}\n$/

/** @throws FileError with the path where one bit of it is not as it was written */
export function parseManifest(path: string, bytes: Uint8Array): Manifest {
  const bad = (reason: string, cause?: unknown): Error => damaged(path, reason, cause)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw bad('it is no text', cause)
  }
  const [, wanted, body] = wrapped.exec(text) ?? []
  if (wanted === undefined || body === undefined) throw bad('it is cut off, or no manifest of a checkpoint')
  if (sha256(body) !== wanted) throw bad('it does not have the checksum that was written')
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (cause) {
    throw bad('it is not JSON', cause)
  }
  const parsed = schema.safeParse(value)
  const issue = parsed.error?.issues[0]
  if (parsed.data === undefined) throw bad(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? ''}`)
  const { data } = parsed
  const files = data.files.map(({ name, bytes, chunks }): FileRecord => {
    if (chunks.length !== 8 * Math.ceil(bytes / data.chunk)) throw bad(`files: ${name} of ${bytes} bytes has ${chunks.length / 8} checksums of ${data.chunk} bytes each`)
    return { name, bytes, crcs: Uint32Array.from({ length: chunks.length / 8 }, (_, i) => parseInt(chunks.slice(8 * i, 8 * i + 8), 16)) }
  })
  const names = new Set(files.map(f => f.name))
  if (names.size < files.length) throw bad('files: two have one name')
  const seen = new Set<string>()
  const tensors = data.tensors.map(({ dims, ...tensor }): TensorRecord => {
    const key = `${tensor.group} ${tensor.path}`
    if (seen.has(key)) throw bad(`tensors: "${tensor.path}" is there twice`)
    if (!names.has(tensor.file)) throw bad(`tensors: "${tensor.path}" lies in ${tensor.file}, which is none of the files`)
    seen.add(key)
    const shape = dims.map(([name, size]) => ({ name, size }))
    if (!Number.isSafeInteger(sizeOf(shape))) throw bad(`tensors: "${tensor.path}" has more elements than can be counted`)
    return { ...tensor, dims: shape }
  })
  return { ...data, heldOutLoss: data.heldOutLoss ?? undefined, files, tensors }
}
