/** Long files first, so that all workers are busy to the end; and those that share a process one after another. */
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { relative } from 'node:path'

/** Seconds on one quiet core, roughly. Files that are not here take less than those that are. */
const seconds: { readonly [file: string]: number } = {
  'test/cli/bad-input.test.ts': 40, 'test/page/plans.test.ts': 40, 'test/cli/finetune.test.ts': 15,
  'test/ops/xla-0.test.ts': 20, 'test/ops/xla-1.test.ts': 20, 'test/fuzz.test.ts': 15, 'test/ops/cuda.test.ts': 10,
  'test/mpi/numbers.test.ts': 70, 'test/mpi/failures.test.ts': 40, 'test/page/watch.test.ts': 35, 'test/cli/commands.test.ts': 35, 'test/docs.test.ts': 30, 'test/mpi/native.test.ts': 30, 'test/soak/signals.test.ts': 25, 'test/mpi/ops.test.ts': 20, 'test/mpi/search.test.ts': 20,
  'test/same-numbers.test.ts': 20, 'test/page/page.test.ts': 18, 'test/train/precision.test.ts': 16, 'test/cli/plan.test.ts': 15, 'test/cli/profile.test.ts': 14, 'test/cli/run-served.test.ts': 14, 'test/parallel/training.test.ts': 14, 'test/page/ranks.test.ts': 14, 'test/cli/eval.test.ts': 13,
  'test/mpi/serving.test.ts': 12, 'test/cli/page.test.ts': 12, 'test/cli/recipes.test.ts': 12, 'test/cli/examples.test.ts': 12, 'test/autolayout/tables.test.ts': 12, 'test/calibrate/calibrate.test.ts': 12, 'test/parallel/pipeline-experts.test.ts': 12, 'test/autolayout/stages.test.ts': 12,
  'test/soak/soak.test.ts': 11, 'test/autolayout/find.test.ts': 11, 'test/parallel/pipeline-costs.test.ts': 11, 'test/mpi/bad-input.test.ts': 10, 'test/mpi/hosts.test.ts': 10, 'test/serve/encoder.test.ts': 10, 'test/nn/context-devices.test.ts': 10,
}

export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const weight = ({ moduleId, project }: TestSpecification): number => seconds[relative(project.config.root, moduleId)] ?? 0
    // A process is shared as long as the next file is of the same project.
    const order = ['alone', 'optimized', 'together']
    const turn = ({ project }: TestSpecification): number => order.indexOf(project.name)
    // Among the others, what vitest remembers of the last run decides.
    return (await super.sort(files)).sort((a, b) => turn(a) - turn(b) || weight(b) - weight(a))
  }
}
