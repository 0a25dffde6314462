// @ts-check
/**
 * Bugs that a careless change could bring into the product, each with the tests that must notice. An edit is an exact
 * piece of a source file and what stands there instead; `find` must occur once, so that a source that moved on fails
 * loudly. Planted in a copy by `plant.mjs`, never here.
 */

/**
 * @typedef {object} Edit
 * @property {string} file from the root
 * @property {string} find
 * @property {string} replace
 *
 * @typedef {object} Bug
 * @property {string} name
 * @property {readonly Edit[]} edits
 * @property {readonly string[]} tests the files that must notice, from the root
 */

/**
 * @param {string} name
 * @param {string} file
 * @param {string} find
 * @param {string} replace
 * @param {...string} tests
 * @returns {Bug}
 */
const bug = (name, file, find, replace, ...tests) => ({ name, edits: [{ file, find, replace }], tests });

const scripts = "src/stores/redis-scripts.ts";
const header = "src/stores/redis-header.ts";
const memory = "src/stores/memory.ts";
const redisTests = "test/stores/redis.test.ts";
const memoryTests = "test/stores/memory.test.ts";

/** What the stores must never do. @type {readonly Bug[]} */
const inStores = [
  bug(
    "Redis: a save recreates an ended session's key",
    scripts,
    "if expected == 'absent' then wins = free end",
    "if expected == 'absent' or free then wins = free end",
    redisTests,
  ),
  bug(
    "Redis: the last write wins, whatever it was based on",
    scripts,
    "local wins = stands and string.sub(head, 10, 17) == expected",
    "local wins = stands",
    redisTests,
  ),
  bug(
    "Redis: a record has no TTL",
    scripts,
    ".. ARGV[7], 'PXAT', at(deadline))",
    ".. ARGV[7])",
    "test/stores/redis-records.test.ts",
  ),
  bug(
    "Redis: a touch creates",
    scripts,
    "if state ~= 'L' then",
    "if state == 'none' then redis.call('SET', KEYS[1], 'touched', 'PX', 60000) end\nif state ~= 'L' then",
    redisTests,
  ),
  bug(
    "Redis: an end leaves no tombstone",
    scripts,
    "redis.call('SET', KEYS[1], ARGV[3] .. replaced, 'PXAT', at(until_at))",
    "",
    redisTests,
  ),
  bug(
    "Redis: a write whose answer was lost is not recognised",
    scripts,
    "if string.sub(head, from, from + 7) == own then",
    "if head == own then",
    "test/faults/lost-answers.test.ts",
  ),
  bug(
    "Redis: nobody checks whose record it is",
    header,
    "const named = header.slice(3, 9) === keyMark(key);",
    "const named = true;",
    "test/stores/redis-records.test.ts",
  ),
  bug(
    "Redis: expiry is left to the TTL",
    header,
    'if (now >= deadline) return { kind: "ended", reason: "expired", expiresAt: deadline };',
    "",
    redisTests,
  ),
  bug(
    "Redis: the absolute deadline is stored and not looked at",
    header,
    "const deadline = absolute === 0 ? expiresAt : Math.min(expiresAt, absolute);",
    "const deadline = expiresAt;",
    redisTests,
  ),
  bug(
    "Redis: each node goes by its own clock",
    "src/stores/redis.ts",
    "return this.#settings.clock.now();",
    "return Date.now();",
    "test/races/expiry.test.ts",
  ),
  bug(
    "memory: the last write wins, whatever it was based on",
    memory,
    "isKept(current) && current.version === expected;",
    "isKept(current);",
    memoryTests,
  ),
  bug(
    "memory: a save recreates an ended session",
    memory,
    "isKept(current) && current.version === expected;",
    "current?.kind === 'ended' || (isKept(current) && current.version === expected);",
    memoryTests,
  ),
];

/** Who gets which session. @type {readonly Bug[]} */
const inIdentity = [
  bug(
    "an unsigned cookie is accepted",
    "src/cookie.ts",
    'return { reason: "bad-signature" };',
    'return { secret: value.split(".")[0] ?? "", keyIndex: 0 };',
    "test/unit/cookie.test.ts",
  ),
  bug(
    "an older signing key verifies no more",
    "src/cookie.ts",
    "of secrets.entries()) {",
    "of secrets.slice(0, 1).entries()) {",
    "test/unit/cookie.test.ts",
  ),
  bug(
    "a secret that is missing falls back to one that everybody knows",
    "src/options.ts",
    "secrets: secretsOf(options.secret),",
    'secrets: secretsOf(options.secret ?? "keyboard cat, and a few characters more"),',
    "test/unit/options.test.ts",
  ),
  bug(
    "ids are guessable",
    "src/id.ts",
    "randomBytes(secretBytes)",
    "Buffer.from(String(Math.random()).padEnd(secretBytes, '0').slice(0, secretBytes))",
    "test/unit/id.test.ts",
  ),
  bug(
    "the store and the logs have the cookie's secret",
    "src/id.ts",
    'return hash("sha256", secret, "base64url");',
    "return hash === undefined ? '' : secret;",
    "test/unit/id.test.ts",
  ),
  {
    name: "an id that the store does not know is adopted",
    edits: [
      {
        file: "src/arrival.ts",
        find: 'return ended ?? { kind: "none" };',
        replace: 'return ended ?? { kind: "none", secret: candidates[0]?.secret };',
      },
      {
        file: "src/materialise.ts",
        find: ": new SessionState(context);",
        replace: ": new SessionState(context, arrival.secret);",
      },
    ],
    tests: ["test/unit/arrival.test.ts"],
  },
  bug(
    "one request gets what another one read",
    "src/arrival.ts",
    "await readFollowing(context, budget, candidate);",
    "(globalThis.leaked ??= await readFollowing(context, budget, candidate));",
    "test/races/crossing.test.ts",
  ),
  bug(
    "the cookie of an id that rotated or ended is sent once more",
    "src/departure.ts",
    "if (!isDue || context.endedIds.has(state.id)) return;",
    "if (!isDue) return;",
    "test/unit/ends.test.ts",
    "test/unit/renewal.test.ts",
    "test/unit/arrival.test.ts",
  ),
  bug(
    "a key named __proto__ becomes the prototype",
    "src/merge.ts",
    'if (key === "__proto__") {',
    "if (key.length < 0) {",
    "test/unit/merge.test.ts",
    "test/unit/engine.test.ts",
  ),
];

/** What a login promises. @type {readonly Bug[]} */
const inLogins = [
  bug(
    "renew() leaves the old id alive",
    "src/rotation.ts",
    "await retire(context, budget, { id: oldId, base }, takeOver);",
    "",
    "test/unit/ends.test.ts",
  ),
  bug(
    "renew() drops what another request saved meanwhile",
    "src/rotation.ts",
    "const theirs = current.version === version ? undefined : ",
    "const theirs = current.version !== version ? undefined : ",
    "test/unit/ends.test.ts",
    "test/races/rotation.test.ts",
  ),
  bug(
    "renew() overwrites what another request saved, in silence",
    "src/rotation.ts",
    "if (conflicts !== undefined) reportMerge(context, id, conflicts);",
    "",
    "test/unit/conflicts.test.ts",
  ),
  bug(
    "a login that a conflict refused leaves its record behind",
    "src/rotation.ts",
    "if (!isOldInDoubt) await undoRenaming(context, budget, renaming).catch(() => unschedule(context, id));",
    "",
    "test/unit/conflicts.test.ts",
  ),
  bug(
    "regenerate() leaves the old session alive",
    "src/rotation.ts",
    'await end(state.context, budget, state.id, "rotated")',
    "await undefined",
    "test/unit/ends.test.ts",
  ),
];

/** What a save and an answer promise. @type {readonly Bug[]} */
const inPromises = [
  bug(
    "Express: the answer does not wait for the save",
    "adapters/response-gate.ts",
    "if (saved !== undefined && !this.#isStub) return this.#hold(name, args, saved);",
    "saved?.catch(() => {});",
    "test/adapters/express.test.ts",
  ),
  bug(
    "Express: an app that answers twice loses the first answer",
    "adapters/held-connection.ts",
    "if (keep === undefined || ",
    "if (keep !== undefined || ",
    "test/adapters/held-connection.test.ts",
  ),
  bug(
    "Koa: the answer does not wait for the save",
    "adapters/koa-commit.ts",
    "committing && (await failureOf(committing))",
    "committing?.catch(() => {}) && undefined",
    "test/adapters/koa.test.ts",
  ),
  bug(
    "a change of a value is taken for none",
    "src/fingerprint.ts",
    "if (values[at] !== value) return -1;",
    'if (typeof value === "object" && values[at] !== value) return -1;',
    "test/unit/fingerprint.test.ts",
  ),
  bug(
    "Fastify: the answer does not wait for the save",
    "adapters/fastify-departure.ts",
    "if (pending === undefined) return done();",
    "pending?.catch(() => {});\n    if (pending !== null) return done();",
    "test/adapters/fastify.test.ts",
  ),
  bug(
    "Koa and Fastify: nobody follows a handler whose client went away",
    "adapters/response-over.ts",
    "if (!response.writableEnded) alsoAfterEnd(response, finish);",
    "if (response.writableEnded) alsoAfterEnd(response, finish);",
    "test/adapters/late-ends.test.ts",
  ),
  bug(
    "every save is answered first",
    "src/leaving.ts",
    'const mayWait = context.options.commit === "background" && ',
    "const mayWait = ",
    "test/unit/engine.test.ts",
    "test/adapters/express.test.ts",
  ),
  bug(
    "a login in the background",
    "src/leaving.ts",
    'state.phase === "live" && !state.isEndDue;',
    "!state.isEndDue;",
    "test/unit/background.test.ts",
  ),
  bug(
    "a save that failed is swallowed",
    "src/visit.ts",
    "    this.#depart?.();\n    throw error;",
    "    this.#depart?.();\n    return error as never;",
    "test/adapters/koa.test.ts",
  ),
  bug(
    "an operation that failed and that nobody waited for is forgotten",
    "src/operations.ts",
    "this.#unfinished.set(name, error);",
    "this.#unfinished.delete(name);",
    "test/unit/ends.test.ts",
  ),
  bug(
    "onStoreError: a failed load is an anonymous session, always",
    "src/loading.ts",
    'if (isStore && context.options.onStoreError === "anonymous")',
    'if (isStore && context.options.onStoreError !== "x")',
    "test/unit/engine.test.ts",
    "test/adapters/koa.test.ts",
  ),
  bug(
    "the breaker is off",
    "src/breaker.ts",
    "if (this.#policy.state !== CircuitState.Closed) throw ",
    "if (this.#policy.state === undefined) throw ",
    "test/unit/breaker.test.ts",
  ),
  bug(
    "the breaker opens and nobody probes",
    "src/breaker.ts",
    "if (this.#isClosed) return;\n    this.#timer",
    "if (this.#timer !== null) return;\n    this.#timer",
    "test/unit/breaker.test.ts",
  ),
  bug(
    "a store that hangs is waited for",
    "src/deadline.ts",
    "const timer = setTimeout(() => fail(timeout(this.#totalMs)), waitMs);",
    "const timer = setTimeout(() => {}, waitMs);",
    "test/unit/breaker.test.ts",
  ),
  bug(
    "a merge drops theirs",
    "src/merge.ts",
    "for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {",
    "for (const key of Object.keys(mine)) {",
    "test/unit/merge.test.ts",
  ),
  bug(
    "a merge takes mine although I changed nothing",
    "src/merge.ts",
    "const isMine = my !== before;",
    "const isMine = true;",
    "test/unit/merge.test.ts",
  ),
  bug("a conflict is silent", "src/merge.ts", "conflicts.push(key);", "", "test/unit/merge.test.ts"),
  bug(
    "writers of one process do not take turns",
    "src/writers.ts",
    "if (!isFirst) await budget.spend(() => turn);",
    "if (isFirst) await budget.spend(() => turn);",
    "test/unit/engine.test.ts",
  ),
  bug(
    "a save is done because another of its process had written the same",
    "src/compare-and-set.ts",
    "if (attempt > 0 && known !== undefined && content === known.content)",
    "if (known !== undefined && content === known.content)",
    "test/unit/conflicts.test.ts",
  ),
  bug(
    "a save that may have been applied is applied once more",
    "src/compare-and-set.ts",
    "if (isUncertain) throw unknownOutcome();",
    "",
    "test/faults/lost-answers.test.ts",
  ),
  bug(
    "a creation whose name was not confirmed is taken for another user's session",
    "src/compare-and-set.ts",
    'if (state.phase === "new") state.isCreationUnsure = true;',
    "",
    "test/unit/principals.test.ts",
  ),
  bug(
    "a record may grow without end",
    "src/compare-and-set.ts",
    "if (payload.byteLength <= options.maxRecordSize) return payload;",
    "if (payload.byteLength >= 0) return payload;",
    "test/unit/conflicts.test.ts",
  ),
  bug(
    "a member's name is accepted as a data key",
    "src/session-content.ts",
    "  refuseReserved(data);\n",
    "",
    "test/unit/engine.test.ts",
  ),
  bug(
    "a save of an ended session is told to be fine",
    "src/commit.ts",
    '  return "gone";\n',
    '  return "saved";\n',
    "test/unit/ends.test.ts",
    "test/unit/engine.test.ts",
  ),
];

/** All of them. */
export const bugs = [...inStores, ...inIdentity, ...inLogins, ...inPromises];
