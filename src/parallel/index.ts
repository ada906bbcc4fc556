/** Forms of parallelism that are said around a part of a model. They name no device, mesh or axis. */
export { pipeline, type PipelineOptions } from './pipeline.ts'
export { pipelineLoss, type LossOptions } from './one-back.ts'
export { areLayers, inLayers, inPlaces, intoPlaces, placesOf, type Places } from './places.ts'
export { drawSchedule, idleShare, planOf, ticksOf, type Pipelined, type ScheduleName, type Tick, type Work } from './schedule.ts'
