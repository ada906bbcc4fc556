/** Parameters over a mesh ↔ one safetensors file: every process writes and reads what its own devices hold. */
import { open, type FileHandle } from 'node:fs/promises'
import { cannotWrite, isSystemError, writeAtomically } from '../io/atomic.ts'
import { names, sizeOf } from '../core/dim.ts'
import { dtypes, hostArray } from '../core/dtype.ts'
import { FileError } from '../core/errors.ts'
import { barrier, fromFirst, place, stretches, type Backend, type Block, type Mesh, type MeshArray, type Placement, type Processes } from '../engine/index.ts'
import { layoutFile, openSafetensors, type FileLayout, type SafetensorsFile } from './safetensors.ts'

export interface Named<T> { readonly path: string; readonly value: T }

type Entry = { readonly name: string; readonly dtype: MeshArray['dtype']; readonly shape: readonly number[]; readonly array: MeshArray }

/**
 * Writes the arrays under their paths, whole, whatever the mesh. The dims' names go into the metadata. All processes call it; the
 * file's folder must be one that all of them see.
 * @throws FileError when it cannot be written.
 */
export async function saveWeights(file: string, arrays: readonly Named<MeshArray>[], processes: Processes): Promise<void> {
  const dims = Object.fromEntries(arrays.map(({ path, value }) => [`dims.${path}`, names(value.shape).join(' ')]))
  const entries = arrays.map(({ path, value }): Entry => ({ name: path, dtype: value.dtype, shape: value.shape.map(d => d.size), array: value }))
  const layout = layoutFile(entries, { format: 'meshwork', ...dims })
  if (processes.rank === 0) {
    await writeAtomically(file, async (handle, temporary) => {
      await handle.write(layout.head)
      await handle.truncate(layout.size)
      await fromFirst(processes, 'the weights\' file', () => temporary)
      await writeParts(handle, layout)
      await barrier(processes, 'writing weights')
    })
  } else {
    const temporary = await fromFirst(processes, 'the weights\' file', () => '')
    const handle = await open(temporary, 'r+').catch((cause: unknown) => {
      throw new FileError({ code: 'not-shared', what: `rank ${processes.rank} (host ${processes.hosts[processes.rank]}) does not see the file that rank 0 writes`, details: { file: temporary }, fix: 'give a run folder on a disk that all hosts share: --out DIR', cause })
    })
    try {
      await writeParts(handle, layout)
      await handle.sync()
    } catch (cause) {
      throw isSystemError(cause) ? cannotWrite(file, cause) : cause
    } finally {
      await handle.close()
    }
    await barrier(processes, 'writing weights')
  }
  // Only after this barrier does the file exist under its name.
  await barrier(processes, 'the weights\' file')
}

async function writeParts(handle: FileHandle, { places }: FileLayout<Entry>): Promise<void> {
  for (const { tensor: { array, dtype }, begin } of places) {
    const width = dtypes[dtype].bytes
    for await (const { data, each } of array.ownParts()) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      const writes: { readonly at: number; readonly from: number; readonly length: number }[] = []
      each((global, local, length) => writes.push({ at: begin + global * width, from: local * width, length: length * width }))
      for (const { at, from, length } of writes) await writeAll(handle, bytes.subarray(from, from + length), at)
    }
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) done += (await handle.write(bytes, done, Math.min(bytes.byteLength - done, 2 ** 30), at + done)).bytesWritten
}

/**
 * Reads arrays and lays them over the mesh; a process reads the parts of its own devices.
 * @throws FileError where one is missing or of another shape or dtype.
 */
export async function loadWeights(file: string, wanted: readonly Named<Placement>[], backend: Backend, mesh: Mesh): Promise<MeshArray[]> {
  const source = await openSafetensors(file)
  try {
    const arrays: MeshArray[] = []
    for (const { path, value } of wanted) {
      const entry = source.tensors.get(path)
      const shape = value.shape.map(d => d.size)
      if (entry === undefined || entry.dtype !== value.dtype || entry.shape.join() !== shape.join()) {
        throw new FileError({
          code: 'weights', what: `${file}: the weights do not fit the model at "${path}"`, fix: 'use the run folder that the weights were written in',
          details: { expected: `${value.dtype} [${shape.join(', ')}]`, found: entry === undefined ? 'nothing' : `${entry.dtype ?? entry.tag} [${entry.shape.join(', ')}]` },
        })
      }
      arrays.push(await place(backend, mesh, value, block => readBlock(source, path, value, block), path))
    }
    // A slow disk is waited for here, not within a program.
    await barrier(backend.processes, 'reading weights')
    return arrays
  } finally {
    await source.close()
  }
}

/** Elements that one read may span: short stretches that lie close are read as one, with what is between them. */
const longestSpan = 2 ** 18

async function readBlock(source: SafetensorsFile, path: string, { shape, dtype }: Placement, block: Block): Promise<ReturnType<typeof hostArray>> {
  const part = hostArray(dtype, block.sizes.reduce((n, s) => n * s, 1))
  if (part.length === sizeOf(shape)) return source.read(path)
  const spans: { first: number; end: number; readonly pieces: { readonly global: number; readonly local: number; readonly length: number }[] }[] = []
  stretches(shape, block, (global, local, length) => {
    const last = spans.at(-1)
    if (last !== undefined && global + length - last.first <= longestSpan) {
      last.end = global + length
      last.pieces.push({ global, local, length })
    } else spans.push({ first: global, end: global + length, pieces: [{ global, local, length }] })
  })
  for (const { first, end, pieces } of spans) {
    const read = await source.readPart(path, first, end - first)
    for (const { global, local, length } of pieces) part.set(read.subarray(global - first, global - first + length) as never, local)
  }
  return part
}
