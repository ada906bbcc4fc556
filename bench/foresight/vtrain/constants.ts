/** Constants of an A100 under Megatron, as `npm run bench -- --only foresight-vtrain` has fitted them to a tenth of vTrain's rows, drawn by seed 1. */
import type { Constants } from '../fit.ts'

export const fittedConstants: Constants = {
  product: 2.56e14, halfProduct: 1.94e9, narrow: 0.147, bandwidth: 2.04e12, halfBytes: 1.31e6, kernelUs: 9.95, launchUs: 50.1, stepUs: 100, among2Us: 5.1, among4Us: 64.6, among8Us: 187, share: 1, sendShare: 1,
  latencyBetweenUs: 1.2, shareBetween: 0.298, sendShareBetween: 0.55,
}
