/** Models: functions over tensors and trees of parameters. */
/** What the schema of a model of one's own is written in: the same zod that reads it. */
export { z } from 'zod'
export { gpt, gptDims, gptLayouts, type Gpt, type GptBatch, type GptBatchOf, type GptParams, type GptWeights } from './gpt.ts'
export type { GptConfig } from './gpt-config.ts'
export { gptModel, gptSchema } from './gpt-model.ts'
export { convNet, convNetModel, convNetSchema, type ConvNet, type ConvNetBatch, type ConvNetConfig, type ConvNetParams } from './conv-net.ts'
export { lstmModel, lstmSchema, lstmText, type LstmBatch, type LstmConfig, type LstmParams, type LstmText } from './lstm-text.ts'
export { seq2seq, seq2seqModel, seq2seqSchema, type Seq2seq, type Seq2seqBatch, type Seq2seqConfig, type Seq2seqParams } from './seq2seq.ts'
export { mlp, type MlpConfig } from './mlp.ts'
export { configurable, type BuildOptions, type Configurable, type Configured, type ModelKind } from './configurable.ts'
export { evaluated, WeightedMeans } from './evaluation.ts'
export type { AnyModel, Model, ModelDims, Precision } from './model.ts'
export type { Quantize } from '../nn/quantize.ts'
