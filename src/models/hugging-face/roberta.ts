/** RoBERTa as Hugging Face has it: BERT with positions that begin behind the padding token's id, and with heads of other names. */
import type { BertClassifier, BertClassifierConfig } from '../bert-classifier.ts'
import type { BertEmbedder, BertEmbedderConfig } from '../bert-embedder.ts'
import type { BertMasked, BertMaskedConfig } from '../bert-masked.ts'
import type { BertClassifierInput, BertEmbedderInput, BertMaskedInput } from '../bert-model.ts'
import type { Architecture } from './architecture.ts'
import { classifierArchitecture, embedderArchitecture, maskedArchitecture } from './bert.ts'

const family = { modelType: 'roberta', class: 'Roberta' } as const
export const robertaMaskedArchitecture: Architecture<BertMaskedConfig, BertMaskedInput, BertMasked> = maskedArchitecture(family)
export const robertaClassifierArchitecture: Architecture<BertClassifierConfig, BertClassifierInput, BertClassifier> = classifierArchitecture(family)
export const robertaEmbedderArchitecture: Architecture<BertEmbedderConfig, BertEmbedderInput, BertEmbedder> = embedderArchitecture(family)
