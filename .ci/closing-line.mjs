// @ts-check
/**
 * A vitest reporter that adds one plain line, `N passed, N failed`, after the default report, for people and scripts
 * that read the end of a log. A file that did not load and an error outside of any test count as failed.
 */
export default class ClosingLine {
  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<unknown>} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      const failedBefore = counts.failed;
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
      if (!module.ok() && counts.failed === failedBefore) counts.failed += 1;
    }
    const left = counts.skipped + counts.pending;
    const line = `${counts.passed} passed, ${counts.failed} failed${left > 0 ? `, ${left} skipped` : ""}`;
    // The default report is written in this same step: the line goes behind it.
    process.once("exit", () => console.log(line));
  }
}
