/** Functions over tensors that models are made of. */
export { celu, elu, gelu, geluExact, glu, hardSigmoid, hardSwish, leakyRelu, logSigmoid, mish, relu, relu6, selu, silu, softplus } from './activations.ts'
export { crossEntropy, layerNorm, logSoftmax, logsumexp, maskedMean, softmax, type CrossEntropyOptions } from './functional.ts'
export { causalAttention, type AttentionDims, type AttentionWeights } from './attention.ts'
export { dropout, fold, keyOf, normal, randomBits, uniform, type Key } from '../graph/random.ts'
export { conv, convTranspose, type ConvWindow, type Convolved } from './convolution.ts'
export { maxPool, meanPool, minPool, sumPool, type Pooled, type PoolWindow } from './pooling.ts'
export { dequantize, quantize, type Quantize, type Quantized, type Weight } from './quantize.ts'
export type { Padding } from './window.ts'
