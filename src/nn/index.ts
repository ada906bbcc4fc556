/** Functions over tensors that models are made of. */
export { crossEntropy, gelu, layerNorm, logsumexp, softmax } from './functional.ts'
export { causalAttention, type AttentionDims, type AttentionWeights } from './attention.ts'
export { dropout, fold, keyOf, normal, randomBits, uniform, type Key } from '../graph/random.ts'
export { conv, convTranspose, type ConvWindow, type Convolved } from './convolution.ts'
export { maxPool, meanPool, minPool, sumPool, type Pooled, type PoolWindow } from './pooling.ts'
export type { Padding } from './window.ts'
