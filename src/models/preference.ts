/** A language model that learns which of two answers is preferred, from pairs of them (DPO; Rafailov et al. 2023). */
import type { Dim } from '../core/dim.ts'
import { UsageError } from '../core/errors.ts'
import type { LayoutNames } from '../core/layout.ts'
import { shown } from '../core/shown.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { frozenCopy } from '../graph/param.ts'
import { loose, mapTree, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import { softplus } from '../nn/activations.ts'
import { crossEntropy, weightedMean } from '../nn/functional.ts'
import type { LoraModel, LoraParams } from './lora.ts'
import type { Model } from './model.ts'
import { ignore, type Ids } from './next-token.ts'

export interface PreferenceOptions {
  /** β of the paper: how closely the model keeps to the reference; 0.1 is usual. */
  readonly beta: number
  /** The share of pairs that are thought to be labelled the wrong way round: that of conservative DPO (Mitchell 2023). From 0 to below 0.5; 0 unless said. */
  readonly labelSmoothing?: number | undefined
  /**
   * What the model is compared with: `base` are the weights of a model with adapters without these, of which there is no second copy; `copy` is a frozen copy of all parameters
   * as they are at first. `base` where there are adapters unless said, and else `copy`.
   */
  readonly reference?: 'base' | 'copy' | undefined
}

/** A batch of a model of text. */
export type AnswerBatch = { readonly tokens: Ids; readonly targets: Ids }
/** As many answers that are preferred as others to the same prompts, row by row. Targets of the prompts, as of what fills rows up, are −100. */
export type PairBatch<B extends Tree> = { readonly chosen: B; readonly rejected: B }
/** What is trained, and what it is compared with. */
export type ReferenceParams<P extends Tree> = { readonly policy: P; readonly reference: P }
export type PreferenceModel<P extends Tree, B extends Tree, D extends string = string, L extends LayoutNames = LayoutNames<never>> = Omit<Model<P, PairBatch<B>, D, L>, 'logits' | 'tokensPerBatch'> & { readonly ignored: number }

/**
 * The model as one of pairs. Its loss is −(1 − ε) log σ(h) − ε log σ(−h), h = β ((log π(chosen) − log π_ref(chosen)) − (log π(rejected) − log π_ref(rejected))), the mean over pairs:
 * equation 7 of the paper, with the label smoothing ε. A log-probability is the sum over the targets that are not −100; a pair without any does not count. Metrics are the rewards
 * β (log π − log π_ref) of both answers, their difference (`margin`), and in which share of the pairs it is above 0 (`accuracy`). The logits are those without dropout, as of the reference.
 * With adapters the parameters are the model's own; else they are `{ policy, reference }`, the reference frozen and at first equal to the policy.
 * @throws UsageError for a model that has no logits over a vocabulary, or takes no tokens and targets, and for options that cannot be
 */
export function withPreference<P extends Tree, B extends AnswerBatch, D extends string, L extends LayoutNames>(model: LoraModel<P, B, D, L>, options: PreferenceOptions & { readonly reference?: 'base' | undefined }): PreferenceModel<LoraParams<P>, B, D | 'rank', L> & Pick<LoraModel<P, B, D, L>, 'merged'>
export function withPreference<P extends Tree, B extends AnswerBatch, D extends string, L extends LayoutNames>(model: Model<P, B, D, L>, options: PreferenceOptions): PreferenceModel<ReferenceParams<P>, B, D, L>
export function withPreference(given: unknown, { beta, labelSmoothing = 0, reference }: PreferenceOptions): unknown {
  const model = given as Model<Tree, AnswerBatch, string, LayoutNames>
  const adapted = 'merged' in model
  const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'preference', what: `preference: ${what}`, fix })
  if (!(beta > 0 && beta < Infinity)) throw wrong(`beta is ${shown(beta)}`, 'give a number above 0, such as 0.1')
  if (!(labelSmoothing >= 0 && labelSmoothing < 0.5)) throw wrong(`labelSmoothing is ${shown(labelSmoothing)}`, 'give a number from 0 to below 0.5')
  if (reference === 'base' && !adapted) throw wrong('the reference is to be the weights without adapters, and the model has none', 'give it adapters, or leave reference out: then a frozen copy is')
  const { logits, tokensPerBatch: _, ...rest } = model
  const vocab = model.dims['vocab']
  if (logits === undefined || vocab === undefined || !('tokens' in model.batch && 'targets' in model.batch)) throw wrong('the model does not give the logits of tokens over a dim "vocab"', 'give one that tells the next token, such as a GPT or a Llama')

  const copied = !adapted || reference === 'copy'
  const policyOf = (params: Tree): Tree => (copied ? (params as ReferenceParams<Tree>).policy : params)
  // Where no adapter is given for a layer, it is as it was.
  const referenceOf = (params: Tree): Tree => (copied ? (params as ReferenceParams<Tree>).reference : { base: (params as LoraParams<Tree>).base, lora: {} })
  const logProbability = (params: Tree, answers: AnswerBatch): Tensor<'batch'> => summed(crossEntropy<string, string>(loose(logits(params, answers)), vocab, loose(answers.targets), { ignore })).neg()
  const answers = (side: string): AnswerBatch => mapTree(model.batch, (leaf, path) => tensor(input(`${side}.${path}`, leaf.shape as readonly Dim<never>[], leaf.dtype).node))

  const loss = (params: Tree, { chosen, rejected }: PairBatch<AnswerBatch>): Outcome => {
    const [better, worse] = [chosen, rejected].map(side => logProbability(policyOf(params), side).sub(logProbability(referenceOf(params), side).stopGradient()).mul(beta)) as [Tensor<'batch'>, Tensor<'batch'>]
    const margin = better.sub(worse)
    const losses = softplus(margin.neg()).mul(1 - labelSmoothing).add(softplus(margin).mul(labelSmoothing))
    const counts = summed(chosen.targets.notEqual(ignore).cast('f32')).add(summed(rejected.targets.notEqual(ignore).cast('f32'))).greater(0)
    const mean = (x: Tensor<'batch'>) => weightedMean(x, counts)
    const { value, weight } = mean(losses)
    return { loss: value, weight, metrics: { accuracy: mean(margin.greater(0).cast('f32')), margin: mean(margin), chosenReward: mean(better), rejectedReward: mean(worse) } }
  }
  const made: PreferenceModel<Tree, AnswerBatch, string, LayoutNames> = {
    ...rest, ignored: ignore,
    params: copied ? { policy: model.params, reference: frozenCopy(model.params, 'reference') } : model.params,
    batch: { chosen: answers('chosen'), rejected: answers('rejected') },
    ...(model.linear === undefined || !copied ? {} : { linear: Object.fromEntries(Object.entries(model.linear).map(([path, over]) => [`policy.${path}`, over])) }),
    loss,
  }
  return made
}

/** Over all that a pair has of it. */
const summed = (x: AnyTensor): Tensor<'batch'> => tensor(loose(x).sum(...x.shape.map(d => d.name).filter(n => n !== 'batch')).node)
