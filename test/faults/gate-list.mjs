// @ts-check
/**
 * The gates of the test plan: which tests, with their whole counts, and which long runs each consists of. Read by
 * `gates.mjs`, and by a test that looks for whole counts that no gate asks for.
 */

/**
 * @typedef {object} LongRun a program beside this file, which prints a report as its last line with `--json`
 * @property {"chaos.mjs" | "soak.mjs"} program
 * @property {readonly string[]} args
 * @property {number} seeds how often, each time with the next seed
 *
 * @typedef {object} Gate
 * @property {string} name
 * @property {string} what
 * @property {readonly string[]} tests files from the root
 * @property {string} [pattern] of the names of the tests in them that count
 * @property {readonly LongRun[]} [runs]
 */

/** Without durability, and with it: then replication is stalled as well. @param {string} topology */
const chaosOn = (topology) => {
  const args = ["--topology", topology];
  return /** @type {const} */ ([
    { program: "chaos.mjs", args, seeds: 3 },
    { program: "chaos.mjs", args: [...args, "--durability"], seeds: 3 },
  ]);
};

/** @type {readonly Gate[]} */
export const gates = [
  { name: "T1", what: "lost update", tests: ["test/races/parallel-writes.test.ts", "test/races/conflicts.test.ts"] },
  {
    name: "T2",
    what: "logout, revocation, expiry",
    tests: ["test/races/endings.test.ts", "test/races/near-cache.test.ts"],
  },
  { name: "T3", what: "a new id", tests: ["test/races/rotation.test.ts"] },
  { name: "T4", what: "redirects", tests: ["test/races/redirects.test.ts"] },
  {
    name: "T5",
    what: "outages",
    tests: [
      "test/faults/outage.test.ts",
      "test/faults/outage-load.test.ts",
      "test/faults/outage-refusals.test.ts",
      "test/faults/outage-apart.test.ts",
    ],
  },
  {
    name: "T6",
    what: "Sentinel chaos",
    tests: [
      "test/faults/failover-masters.test.ts",
      "test/faults/failover-watch.test.ts",
      "test/faults/near-cache-failover.test.ts",
    ],
    pattern: "Sentinel|SENTINEL|a master that hangs, and wakes",
    runs: chaosOn("sentinel"),
  },
  {
    name: "T7",
    what: "Cluster chaos",
    tests: ["test/faults/failover-masters.test.ts", "test/faults/failover-shards.test.ts"],
    pattern: "a Cluster replaces|slots that move|a master that hung|a shard that is dead",
    runs: chaosOn("cluster"),
  },
  {
    name: "T8",
    what: "the replication window",
    tests: ["test/faults/replication-window.test.ts", "test/faults/durable-failover.test.ts"],
  },
  {
    name: "T9",
    what: "lost answers",
    tests: ["test/faults/lost-answers.test.ts", "test/faults/lost-answers-many.test.ts"],
  },
  { name: "T10", what: "another's data", tests: ["test/races/crossing.test.ts"] },
  { name: "T11", what: "ids", tests: ["test/unit/id.test.ts"] },
  { name: "T12", what: "cookies", tests: ["test/unit/fuzz-cookie.test.ts", "test/unit/cookie.test.ts"] },
  { name: "T13", what: "garbage", tests: ["test/faults/garbage.test.ts"] },
  { name: "T14", what: "values", tests: ["test/unit/codec.test.ts", "test/unit/values.test.ts"] },
  { name: "T15", what: "against a model", tests: ["test/races/model.test.ts"] },
  {
    name: "T16",
    what: "how responses end",
    tests: [
      "test/faults/response-matrix.test.ts",
      "test/faults/response-matrix-by-hand.test.ts",
      "test/faults/response-matrix-http2.test.ts",
      "test/faults/response-matrix-streams.test.ts",
    ],
  },
  { name: "T17", what: "floods", tests: ["test/security/flood.test.ts"] },
  { name: "T18", what: "expiry", tests: ["test/races/expiry.test.ts", "test/unit/lifetimes.test.ts"] },
  { name: "T19", what: "planted bugs", tests: ["test/faults/checker.test.ts"], pattern: "the checker catches" },
  {
    name: "T20",
    what: "soak, with a fault a minute",
    tests: [],
    runs: [{ program: "soak.mjs", args: ["--calm", "60000"], seeds: 1 }],
  },
  {
    name: "principals",
    what: "logins, revocations, limits and what is told of them",
    tests: ["test/races/principals.test.ts", "test/races/events.test.ts"],
  },
  { name: "index", what: "the index after a soak", tests: ["test/faults/index-soak.test.ts"] },
];
