/** Functions over tensors that models are made of. */
export { celu, elu, gelu, geluExact, glu, hardSigmoid, hardSwish, leakyRelu, logSigmoid, mish, relu, relu6, selu, silu, softplus } from './activations.ts'
export { crossEntropy, layerNorm, logSoftmax, logsumexp, maskedMean, rmsNorm, softmax, weightedMean, type CrossEntropyOptions } from './functional.ts'
export { linear, type AdaptedWeight, type LinearWeight } from './linear.ts'
export { lora, type Adapted } from './lora.ts'
export { rotaryFrequencies, type Frequencies, type RotaryConfig, type RotaryScaling } from './frequencies.ts'
export { rotary, type Rotary } from './rotary.ts'
export {
  attention, causalAttention, crossAttention, selfAttention, type AttentionDims, type AttentionOptions, type AttentionWeights, type HeadDims, type HeadWeights, type ScoreOptions, type SelfAttentionOptions,
} from './attention.ts'
export { softCapped } from './scores.ts'
export { seeing, type Seeing, type Visibility } from './visible.ts'
export { lstm, lstmCell, type LstmDims, type LstmOptions, type LstmState, type LstmWeights } from './lstm.ts'
export { dropout, fold, keyOf, normal, randomBits, uniform, type Key } from '../graph/random.ts'
export { conv, convTranspose, type ConvWindow, type Convolved } from './convolution.ts'
export { maxPool, meanPool, minPool, sumPool, type Pooled, type PoolWindow } from './pooling.ts'
export { dequantize, quantize, type Quantize, type Quantized, type Weight } from './quantize.ts'
export type { Padding } from './window.ts'
