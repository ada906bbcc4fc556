/** Long files first, so that both workers are busy to the end. */
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { relative } from 'node:path'

/** Seconds on one quiet core, roughly. Files that are not here take less than those that are. */
const seconds: { readonly [file: string]: number } = {
  'test/mpi/ops.test.ts': 100, 'test/mpi/failures.test.ts': 60, 'test/mpi/hosts.test.ts': 40, 'test/cli/commands.test.ts': 60, 'test/ops/simulate.test.ts': 60,
  'test/models/hugging-face.test.ts': 30, 'test/page/watch.test.ts': 60, 'test/cli/page.test.ts': 30, 'test/autolayout/find.test.ts': 30, 'test/autolayout/known.test.ts': 30, 'test/autolayout/tables.test.ts': 20, 'test/soak/signals.test.ts': 30, 'test/soak/soak.test.ts': 20,
  'test/mpi/numbers.test.ts': 40, 'test/same-numbers.test.ts': 40, 'test/ops/xla-0.test.ts': 40, 'test/ops/xla-1.test.ts': 40, 'test/cli/bad-input.test.ts': 40, 'test/fuzz.test.ts': 40, 'test/mpi/native.test.ts': 30, 'test/mpi/bad-input.test.ts': 30,
}

export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const weight = ({ moduleId, project }: TestSpecification): number => seconds[relative(project.config.root, moduleId)] ?? 0
    // Among the others, what vitest remembers of the last run decides.
    return (await super.sort(files)).sort((a, b) => weight(b) - weight(a))
  }
}
