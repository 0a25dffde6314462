// @ts-check
/**
 * A vitest reporter that ends the report with what people and scripts read at the end of a log: a line
 * `failed: file > test: message` for each failure, `skipped: …` for each test that says why it was not judged, then one
 * plain line, `N passed, N failed`. A file that did not load and an error outside of any test count as failed, and so
 * does, where all tests passed, an id of theirs that was printed.
 */
import { watchOutput } from "./raw-ids.mjs";

export default class ClosingLine {
  #output = watchOutput();

  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<{ message: string }>} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 };
    const failures = unhandled.map((error) => failure("outside of any test", [error]));
    /** @type {string[]} */
    const skips = [];
    for (const module of modules) {
      const failedBefore = counts.failed;
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        const { note } = /** @type {{ note?: string | undefined }} */ (test.result());
        counts[state] += 1;
        if (note !== undefined) skips.push(`skipped: ${module.relativeModuleId} > ${test.fullName}: ${note}`);
        if (state === "failed") failures.push(failure(`${module.relativeModuleId} > ${test.fullName}`, errors));
      }
      if (module.ok() || counts.failed > failedBefore) continue;
      counts.failed += 1;
      failures.push(failure(module.relativeModuleId, module.errors()));
    }
    const left = counts.skipped + counts.pending;
    // The default report is written in this same step: these lines go behind it.
    process.once("exit", () => {
      const { ids, words, printed } = this.#output.result();
      const of = `of ${ids} ids in cookies`;
      // A test that fails may show what it compared.
      if (counts.failed === 0 && printed.length > 0) {
        failures.push(`failed: printed, ${of}: ${printed.map((id) => `${id.slice(0, 8)}…`).join(", ")}`);
        counts.failed += 1;
        process.exitCode = 1;
      } else if (ids > 0) console.log(`none ${of} is in the ${words} words of 22 characters or more that were printed`);
      const line = `${counts.passed} passed, ${counts.failed} failed${left > 0 ? `, ${left} skipped` : ""}`;
      console.log([...skips, ...failures, line].join("\n"));
    });
  }
}

/**
 * One line, however long the message: logs are cut at their beginning.
 *
 * @param {string} where
 * @param {ReadonlyArray<{ message: string }> | undefined} errors
 */
function failure(where, errors = []) {
  const text = errors.map(({ message }) => message).join("; ");
  return `failed: ${where}: ${text.replace(/\s+/g, " ").slice(0, 500)}`;
}
