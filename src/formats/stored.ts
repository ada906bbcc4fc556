/** A tensor of a file, whatever its format: the form in which checkpoints have theirs. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'

/** Read by ranges of bytes. */
export interface StoredTensor {
  /** Undefined where it is of a type that is not read here: it can be listed, not read. */
  readonly dtype: DType | undefined
  /** The type as the file has it: `Q4_K`. */
  readonly tag: string
  /** As Hugging Face has it, the axis whose elements are neighbours last: GGUF counts the axes from the other end. */
  readonly shape: readonly number[]
  readonly dims: readonly Dim[] | undefined
  /** Fills `into` with its bytes, as of `dtype`, from the `at`-th on. @throws FileError where it cannot be read */
  read(into: Uint8Array, at: number): Promise<void>
}
