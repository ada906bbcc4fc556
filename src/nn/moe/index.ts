/** Layers of experts. */
export { balancedBias, balanceLoss, zLoss, type Usage } from './balance.ts'
export { moe, type Moe } from './moe.ts'
export { type Capacity, type ExpertWeights, type MoeDims, type MoeOptions, type MoeWeights, type Router } from './options.ts'
