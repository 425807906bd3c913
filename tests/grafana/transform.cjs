// Runs Grafana's own transformations: [{results: {ref: [[labels, value]]}, transformations}] on stdin
// (or `fields` instead of `results`), of each the columns that the panel then has, by name, on stdout.
const {
  FieldType,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} = require("@grafana/data");
const { firstValueFrom } = require("rxjs");

globalThis.window = globalThis; // only now: some packages take its presence for a browser
const byId = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
standardTransformersRegistry.setInit(() =>
  [...byId.values()].map((each) => ({ ...each, transformation: () => each })),
);

// A table as Grafana's Prometheus data source makes it of an instant query.
function frame(ref, results, isOnly) {
  const labels = [...new Set(results.flatMap(([each]) => Object.keys(each).sort()))];
  return toDataFrame({
    refId: ref,
    fields: [
      { name: "Time", type: FieldType.time, values: results.map(() => 0) },
      ...labels.map((name) => ({
        name,
        type: FieldType.string,
        values: results.map(([each]) => each[name] ?? ""),
      })),
      {
        name: isOnly ? "Value" : `Value #${ref}`,
        type: FieldType.number,
        values: results.map(([, value]) => value),
      },
    ],
  });
}

// Frames of Prometheus' answers by ref, or one of fields that are given as they are.
function framesOf({ results, fields }) {
  if (fields) return [toDataFrame({ refId: "A", fields })];
  // As its data source: a query without data gives an empty frame, unless no query has any.
  const refs = Object.keys(results);
  if (refs.every((ref) => results[ref].length === 0)) return [];
  return refs.map((ref) => frame(ref, results[ref], refs.length === 1));
}

async function columns(question) {
  const { transformations } = question;
  const frames = framesOf(question);
  const transformed = await firstValueFrom(transformDataFrame(transformations, frames));
  if (transformed.length !== 1) {
    throw new Error(`${transformed.length} tables instead of one`);
  }
  return transformed[0].fields.map((field) => [
    field.config.displayName ?? field.name,
    field.values.map((value) => value ?? null),
  ]);
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const questions = JSON.parse(Buffer.concat(chunks).toString("utf-8"));
  process.stdout.write(JSON.stringify(await Promise.all(questions.map(columns))));
}

main();
