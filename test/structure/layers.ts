/**
 * The layer rule of holdfast: imports point one way, type imports too. `violations()` says where they don't. A new file
 * in `src/` needs a place in `layers`; everything else follows from where a file lies.
 */

/** The files of the core, bottom first. A file imports its own layer and those below it. */
const layers: readonly { readonly name: string; readonly files: readonly string[] }[] = [
  {
    name: "ports",
    files: ["store", "exchange", "codec", "errors", "session-data", "principal-index", "expiry-index", "endings"],
  },
  {
    name: "mechanisms",
    files: [
      ...["merge", "meta", "record", "sealed", "compressed", "schema", "id", "cookie", "cookie-options"],
      ...["security-options", "option-checks", "options", "deadline", "events", "suspicion", "context", "operations"],
      ...["writers", "breaker", "background", "moved", "following", "known-cookies"],
      ...["in-flight", "health", "detached"],
      ...["principals", "principal-options", "ending", "whose", "schedule", "leftovers", "hearing", "expiry"],
    ],
  },
  {
    name: "session",
    files: [
      ...["commit", "update", "compare-and-set", "content-merge", "renewal", "rotation"],
      ...["session", "session-cookie", "session-state", "fingerprint", "session-content", "lifetimes"],
      ...["naming", "owned-sessions", "session-limit", "devices"],
    ],
  },
  {
    name: "visit",
    files: [
      "visit",
      "arrival",
      "departure",
      "leaving",
      "loading",
      "materialise",
      "description",
      "inspection",
      "freshness",
      "session-of",
    ],
  },
  { name: "engine", files: ["snapshot", "engine", "engine-context"] },
  { name: "index", files: ["index"] },
];

const layerOf: ReadonlyMap<string, number> = new Map(
  layers.flatMap(({ files }, level) => files.map((file) => [`src/${file}.ts`, level])),
);

/** What only the store, the test kit or an adapter may import besides Node's own modules. */
const corePackages = ["cookie", "cookie-signature", "cockatiel", "ms", "lru-cache"];
const frameworks: Readonly<Record<string, readonly string[]>> = {
  express: ["express"],
  koa: ["koa"],
  fastify: ["fastify", "fastify-plugin"],
};

/** Whose file is it? `adapters/koa.ts` and `adapters/koa-*.ts` are Koa's; other helpers belong to none. */
function frameworkOf(file: string): string | undefined {
  return Object.keys(frameworks).find((name) => file === `adapters/${name}.ts` || file.startsWith(`adapters/${name}-`));
}

/** Which package may `from` import, Node's own aside? */
function mayImportPackage(from: string, name: string): boolean {
  if (from.startsWith("src/stores/redis")) return name === "ioredis" || name === "cluster-key-slot";
  if (from.startsWith("src/stores/")) return name === "lru-cache" || name === "ms";
  if (from.startsWith("src/testing/")) return false; // no test runner above all
  if (from.startsWith("src/")) return corePackages.includes(name);
  return (frameworks[frameworkOf(from) ?? ""] ?? []).includes(name);
}

/** Which file may `from` import? */
function mayImportFile(from: string, to: string): boolean {
  if (to.startsWith("src/testing/")) return from.startsWith("src/testing/");
  if (from.startsWith("src/testing/")) return to.startsWith("src/");
  if (from.startsWith("src/stores/")) {
    const ports = ["store", "errors", "principal-index", "expiry-index", "endings"];
    return ports.some((port) => to === `src/${port}.ts`) || to.startsWith("src/stores/");
  }
  if (from.startsWith("adapters/")) {
    if (to === "src/index.ts" || to === "src/exchange.ts") return true;
    const isHelper =
      to.startsWith("adapters/") && !Object.keys(frameworks).some((name) => to === `adapters/${name}.ts`);
    return isHelper && [undefined, frameworkOf(from)].includes(frameworkOf(to));
  }
  // The default store is the engine's to choose; the Redis store is the user's to import.
  if (to === "src/stores/memory.ts") return from === "src/engine.ts" || from === "src/index.ts";
  const level = layerOf.get(to);
  return level !== undefined && level <= (layerOf.get(from) ?? -1);
}

/** Who imports what; paths from the root, packages by name. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

const isFile = (name: string): boolean => name.startsWith("src/") || name.startsWith("adapters/");

/** The circles of a graph, each once, as `a → b → a`. */
function circles(graph: ImportGraph): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push(`circle: ${[...path.slice(at), file].join(" → ")}`);
    if (at >= 0 || done.has(file)) return;
    for (const to of graph.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

/** Every wrong arrow, circle and file without a layer, in words; empty when the graph is as it must be. */
export function violations(graph: ImportGraph): string[] {
  const found = circles(graph);
  for (const [from, imports] of graph) {
    const isCore = /^src\/[^/]+$/.test(from);
    if (isCore && !layerOf.has(from)) found.push(`${from} has no layer: give it one in test/structure/layers.ts`);
    for (const to of imports) {
      if (to.startsWith("node:")) continue;
      if (isFile(to) && !graph.has(to)) found.push(`${from} imports ${to}, which does not exist`);
      else if (!(isFile(to) ? mayImportFile(from, to) : mayImportPackage(from, to))) {
        found.push(`${from} must not import ${to}`);
      }
    }
  }
  return found;
}
