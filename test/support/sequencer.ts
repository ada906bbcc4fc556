/** Long files first, so that all workers are busy to the end; and those that share a process one after another. */
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { relative } from 'node:path'

/** Seconds on one quiet core, roughly. Files that are not here take less than those that are. */
const seconds: { readonly [file: string]: number } = {
  'test/mpi/numbers.test.ts': 100, 'test/cli/bad-input.test.ts': 60, 'test/mpi/failures.test.ts': 60, 'test/mpi/ops.test.ts': 50, 'test/cli/commands.test.ts': 50, 'test/page/watch.test.ts': 40, 'test/page/plans.test.ts': 40, 'test/mpi/hosts.test.ts': 40,
  'test/page/ranks.test.ts': 40, 'test/docs.test.ts': 30, 'test/cli/examples.test.ts': 30, 'test/soak/signals.test.ts': 30, 'test/mpi/native.test.ts': 20, 'test/cli/recipes.test.ts': 20, 'test/cli/profile.test.ts': 20, 'test/cli/page.test.ts': 20, 'test/page/page.test.ts': 20, 'test/mpi/bad-input.test.ts': 20, 'test/soak/soak.test.ts': 20,
  'test/parallel/training.test.ts': 50, 'test/same-numbers.test.ts': 50, 'test/fuzz.test.ts': 40, 'test/train/precision.test.ts': 30, 'test/ops/xla-0.test.ts': 30, 'test/ops/xla-1.test.ts': 30, 'test/ops/simulate.test.ts': 25, 'test/autolayout/known.test.ts': 25, 'test/models/experts.test.ts': 20,
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
