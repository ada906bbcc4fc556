/** Closes a test run: which tests take longer than they should, and one plain line that any CI can count. */
import type { Reporter, TestCase, TestModule } from 'vitest/node'

/** Milliseconds on two quiet cores; on others it says only where to look. */
const slow = 10_000

export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    const tests: TestCase[] = modules.flatMap(m => [...m.children.allTests()])
    for (const test of tests) count[test.result().state]++
    const took = (t: TestCase): number => t.diagnostic()?.duration ?? 0
    const long = tests.filter(t => took(t) > slow).sort((a, b) => took(b) - took(a))
    if (long.length > 0) {
      process.stdout.write(`\n${long.length} test${long.length === 1 ? '' : 's'} took longer than ${slow / 1000} s, which none does on two quiet cores:\n`)
      for (const t of long.slice(0, 10)) process.stdout.write(`${(took(t) / 1000).toFixed(1).padStart(7)} s  ${t.module.relativeModuleId} > ${t.fullName.slice(0, 100)}\n`)
    }
    process.stdout.write(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped\n`)
  }
}
