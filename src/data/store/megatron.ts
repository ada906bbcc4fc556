/**
 * Megatron's token files. `.bin`: bare tokens. `.idx`, all little-endian: `MMIDIDX\0\0`, u64 version 1, u8 dtype, u64 sequences, u64 documents + 1,
 * i32 lengths, i64 byte offsets, i64 the first sequence of each document and the number of all (Megatron-LM, `megatron/core/datasets/indexed_dataset.py`).
 */
import { closeSync, fstatSync } from 'node:fs'
import { DataError } from '../../core/errors.ts'
import { openToRead, readFully } from './files.ts'

const magic = 'MMIDIDX\0\0'
export const headerBytes: number = 34
/** Of the types of the format those that tokens have. */
const types: { readonly [code: number]: TokenType | undefined } = { 1: 'uint8', 2: 'int8', 3: 'int16', 4: 'int32', 5: 'int64', 8: 'uint16' }
export type TokenType = 'uint8' | 'int8' | 'int16' | 'int32' | 'int64' | 'uint16'
export const bytesOfType: { readonly [T in TokenType]: number } = { uint8: 1, int8: 1, int16: 2, int32: 4, int64: 8, uint16: 2 }

/** What Megatron chooses for a vocabulary. */
export const typeFor = (vocab: number): 'uint16' | 'int32' => (vocab < 65500 ? 'uint16' : 'int32')

export function indexHeader(type: TokenType, documents: number): Uint8Array {
  const bytes = new Uint8Array(headerBytes)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode(magic))
  view.setBigUint64(9, 1n, true)
  view.setUint8(17, Number(Object.entries(types).find(([, t]) => t === type)?.[0]))
  view.setBigUint64(18, BigInt(documents), true)
  view.setBigUint64(26, BigInt(documents + 1), true)
  return bytes
}
export const indexBytes = (documents: number): number => headerBytes + 12 * documents + 8 * (documents + 1)

export interface MegatronIndex {
  readonly type: TokenType
  /** Tokens before each document, and of all; shared with threads. */
  readonly starts: Float64Array
}

/** Entries that are read at once. */
const atOnce = 1 << 17

/**
 * Reads an `.idx`; sequences of one document count as one stretch of tokens.
 * @param tokenBytes what the `.bin` has.
 * @throws DataError when it is no such file, contradicts itself, or does not fit the `.bin`.
 */
export function readIndex(path: string, tokenBytes: number): MegatronIndex {
  const wrong = (reason: string): DataError => new DataError({ code: 'store-index', what: `${path} is no index of Megatron's that fits its tokens`, details: { reason }, fix: 'prepare the store again, or copy both files again' })
  const file = openToRead(path)
  try {
    const size = fstatSync(file).size
    if (size < headerBytes) throw wrong(`it has ${size} bytes, fewer than the header`)
    const header = new DataView(readFully(file, new Uint8Array(headerBytes), 0, path).buffer)
    if (new TextDecoder('latin1').decode(new Uint8Array(header.buffer, 0, 9)) !== magic) throw wrong('it does not begin with MMIDIDX')
    const version = header.getBigUint64(9, true)
    if (version !== 1n) throw wrong(`version ${version}`)
    const code = header.getUint8(17)
    const type = types[code]
    if (type === undefined) throw wrong(`type ${code} is none of tokens`)
    const [sequences, entries] = [Number(header.getBigUint64(18, true)), Number(header.getBigUint64(26, true))]
    const expected = headerBytes + 12 * sequences + 8 * entries
    // A file of many kinds may follow the entries of the modes, one byte a sequence.
    if (entries < 1 || (size !== expected && size !== expected + sequences)) throw wrong(`${sequences} sequences and ${entries - 1} documents take ${expected} bytes, not ${size}`)
    const width = bytesOfType[type]
    const sequenceStarts = readLengths(file, path, sequences, wrong)
    if ((sequenceStarts[sequences] as number) * width !== tokenBytes) throw wrong(`it speaks of ${sequenceStarts[sequences]} tokens of ${width} bytes, the .bin has ${tokenBytes} bytes`)
    checkOffsets(file, path, sequenceStarts, sequences, width, wrong)
    return { type, starts: documentStarts(file, path, sequenceStarts, sequences, entries, wrong) }
  } finally {
    closeSync(file)
  }
}

function* blocks(file: number, path: string, from: number, count: number, width: 4 | 8): Generator<readonly [first: number, values: DataView]> {
  for (let first = 0; first < count; first += atOnce) {
    const bytes = readFully(file, new Uint8Array(Math.min(atOnce, count - first) * width), from + first * width, path)
    yield [first, new DataView(bytes.buffer)]
  }
}

type Wrong = (reason: string) => DataError

function readLengths(file: number, path: string, sequences: number, wrong: Wrong): Float64Array {
  const starts = shared(sequences + 1)
  for (const [first, view] of blocks(file, path, headerBytes, sequences, 4)) {
    for (let i = 0; i < view.byteLength / 4; i++) {
      const length = view.getInt32(4 * i, true)
      if (length < 0) throw wrong(`sequence ${first + i} has ${length} tokens`)
      starts[first + i + 1] = (starts[first + i] as number) + length
    }
  }
  return starts
}

function checkOffsets(file: number, path: string, starts: Float64Array, sequences: number, width: number, wrong: Wrong): void {
  for (const [first, view] of blocks(file, path, headerBytes + 4 * sequences, sequences, 8)) {
    for (let i = 0; i < view.byteLength / 8; i++) {
      const offset = Number(view.getBigInt64(8 * i, true))
      if (offset !== (starts[first + i] as number) * width) throw wrong(`sequence ${first + i} lies at byte ${offset}, the ones before it end at ${(starts[first + i] as number) * width}`)
    }
  }
}

function documentStarts(file: number, path: string, sequenceStarts: Float64Array, sequences: number, entries: number, wrong: Wrong): Float64Array {
  const starts = shared(entries)
  let before = 0
  for (const [first, view] of blocks(file, path, headerBytes + 12 * sequences, entries, 8)) {
    for (let i = 0; i < view.byteLength / 8; i++) {
      const sequence = Number(view.getBigInt64(8 * i, true))
      const isEdge = first + i === 0 ? sequence === 0 : first + i === entries - 1 ? sequence === sequences : true
      if (sequence < before || sequence > sequences || !isEdge) throw wrong(`document ${first + i} begins with sequence ${sequence}`)
      starts[first + i] = sequenceStarts[sequence] as number
      before = sequence
    }
  }
  return starts
}

const shared = (length: number): Float64Array => new Float64Array(new SharedArrayBuffer(8 * length))
