/**
 * The test runner's configuration. The package's own names point to its sources here, as `paths` does in
 * `tsconfig.json`, so that no test needs a build; only `test/package` uses what `npm run build` and `npm pack` make.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^holdfast$/, replacement: source("./src/index.ts") },
      { find: /^holdfast\/(express|koa|fastify)$/, replacement: source("./adapters/$1.ts") },
      { find: /^holdfast\/(redis|memory|near-cache)$/, replacement: source("./src/stores/$1.ts") },
      { find: /^holdfast\/testing$/, replacement: source("./src/testing/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    pool: "forks",
    // More than cores: many tests wait for outages, failovers and browsers.
    maxWorkers: 3,
    // For what hangs only: a busy machine may take many times what a test takes on a quiet one. Waits have their own.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 60_000 } },
    // Times only: a lost write is never tried again.
    setupFiles: ["test/support/in-time.ts"],
    retry: { count: 2, condition: /^too late: / },
    restoreMocks: true,
    reporters: ["default", "./.ci/closing-line.mjs"],
  },
});
