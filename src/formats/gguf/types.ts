/** The element types of GGUF's tensors: what each is called, how its blocks lie in a file, and those that are read here. */
import type { DType } from '../../core/dtype.ts'
import { q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0, type Blocks } from './blocks.ts'

export interface TensorType {
  readonly name: string
  /** Elements of a block, which are neighbours along the last axis, and the bytes that it takes. */
  readonly elements: number
  readonly bytes: number
  /** What an element is read as: f32 where blocks are decoded; undefined where the type is not read here. */
  readonly dtype: DType | undefined
  /** How blocks are decoded; undefined where the file holds elements of `dtype` as they are. */
  readonly blocks?: Blocks
}

const plain = (name: string, bytes: number, dtype?: DType): TensorType => ({ name, elements: 1, bytes, dtype })
const coded = (name: string, blocks: Blocks): TensorType => ({ name, elements: blocks.elements, bytes: blocks.bytes, dtype: 'f32', blocks })
/** One that is listed, and not read. */
const other = (name: string, elements: number, bytes: number): TensorType => ({ name, elements, bytes, dtype: undefined })

/** By the number that the file has (ggml.h, `enum ggml_type`). */
export const tensorTypes: ReadonlyMap<number, TensorType> = new Map([
  [0, plain('F32', 4, 'f32')], [1, plain('F16', 2, 'f16')], [2, coded('Q4_0', q4_0)], [3, coded('Q4_1', q4_1)],
  [6, coded('Q5_0', q5_0)], [7, coded('Q5_1', q5_1)], [8, coded('Q8_0', q8_0)], [9, other('Q8_1', 32, 36)],
  [10, other('Q2_K', 256, 84)], [11, other('Q3_K', 256, 110)], [12, coded('Q4_K', q4_k)], [13, coded('Q5_K', q5_k)], [14, coded('Q6_K', q6_k)], [15, other('Q8_K', 256, 292)],
  [16, other('IQ2_XXS', 256, 66)], [17, other('IQ2_XS', 256, 74)], [18, other('IQ3_XXS', 256, 98)], [19, other('IQ1_S', 256, 50)], [20, other('IQ4_NL', 32, 18)],
  [21, other('IQ3_S', 256, 110)], [22, other('IQ2_S', 256, 82)], [23, other('IQ4_XS', 256, 136)],
  [24, plain('I8', 1, 'i8')], [25, plain('I16', 2)], [26, plain('I32', 4, 'i32')], [27, plain('I64', 8, 'i64')], [28, plain('F64', 8, 'f64')],
  [29, other('IQ1_M', 256, 56)], [30, plain('BF16', 2, 'bf16')], [34, other('TQ1_0', 256, 54)], [35, other('TQ2_0', 256, 66)], [39, other('MXFP4', 32, 17)],
])

/** The names of the types that are read. */
export const readableTypes: readonly string[] = [...tensorTypes.values()].filter(t => t.dtype !== undefined).map(t => t.name)
