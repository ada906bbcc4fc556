/** Models: functions over tensors and trees of parameters. */
export { gpt, gptDims, gptLayouts, type Gpt, type GptBatch, type GptConfig, type GptParams, type GptWeights } from './gpt.ts'
export { mlp, type MlpConfig } from './mlp.ts'
export type { Model, Precision } from './model.ts'
export type { Quantize } from '../nn/quantize.ts'
