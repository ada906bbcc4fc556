/** ResNet as Hugging Face has it: `ResNetForImageClassification`. */
import type { Naming } from '../../core/naming.ts'
import { resnetBlocks, resnetModel, type Resnet, type ResnetConfig, type ResnetInput } from '../resnet.ts'
import type { Architecture } from './architecture.ts'
import { activationOf, activationThere, classesOf, classesThere, sizesOf } from './classes.ts'
import { settingsOf } from './settings.ts'

/** Images may be of any size, which config.json does not say: 224 × 224 unless another is set. */
const usual = 224

export const resnetArchitecture: Architecture<ResnetConfig, ResnetInput, Resnet> = {
  modelType: 'resnet', classes: ['ResNetForImageClassification'], kind: resnetModel,
  fromConfig: config => {
    const c = settingsOf(config, 'resnet')
    const [features, depths] = [sizesOf(c, 'hidden_sizes'), sizesOf(c, 'depths')]
    if (depths.length !== features.length) throw c.wrong('depths', `give it ${features.length} numbers, as many as hidden_sizes has`)
    const bottleneck = c.oneOf('layer_type', ['basic', 'bottleneck'], 'bottleneck') === 'bottleneck'
    if (bottleneck && features.some(f => f % 4 !== 0)) throw c.wrong('hidden_sizes', 'give it numbers that 4 divides: a bottleneck has a quarter of the features')
    const found: ResnetInput = {
      height: usual, width: usual, channels: c.count('num_channels', 3), classes: classesOf(c), stem: c.count('embedding_size', 64), features, depths, bottleneck, activation: activationOf(c, 'hidden_act', 'relu'),
      firstHalves: c.flag('downsample_in_first_stage', false), earlyStride: c.flag('downsample_in_bottleneck', false), mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225],
    }
    // Of nets that are a part of others.
    c.ignore('out_features', 'out_indices', '_out_features', '_out_indices', 'stage_names')
    c.done()
    return found
  },
  toConfig: c => ({
    architectures: ['ResNetForImageClassification'], model_type: 'resnet', num_channels: c.channels, embedding_size: c.stem, hidden_sizes: [...c.features], depths: [...c.depths], layer_type: c.bottleneck ? 'bottleneck' : 'basic', hidden_act: activationThere(c.activation),
    downsample_in_first_stage: c.firstHalves, downsample_in_bottleneck: c.earlyStride, ...classesThere(c.classes),
  }),
  names: (c): Naming => {
    const parameters: { [path: string]: string } = { out: 'classifier.1.weight', outBias: 'classifier.1.bias' }
    const layer = (path: string, name: string): void => {
      Object.assign(parameters, {
        [`${path}.kernel`]: `${name}.convolution.weight`, [`${path}.norm.gain`]: `${name}.normalization.weight`, [`${path}.norm.bias`]: `${name}.normalization.bias`,
        [`${path}.norm.mean`]: `${name}.normalization.running_mean`, [`${path}.norm.variance`]: `${name}.normalization.running_var`,
      })
    }
    layer('stem', 'resnet.embedder.embedder')
    resnetBlocks(c).forEach((stage, s) => { stage.forEach((block, b) => {
      const name = `resnet.encoder.stages.${s}.layers.${b}`
      block.layers.forEach((_, i) => { layer(`stages.${s}.${b}.layers.${i}`, `${name}.layer.${i}`) })
      if (block.shortcut !== undefined) layer(`stages.${s}.${b}.shortcut`, `${name}.shortcut`)
    }) })
    return { prefix: 'resnet.', parameters, idle: ['*.num_batches_tracked'] }
  },
}
