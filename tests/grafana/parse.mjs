// Parses queries: JSON {promql: [...], traceql: [...]} on stdin, what was found of each on stdout.
import { parser as promql } from "@prometheus-io/lezer-promql";
import { parser as traceql } from "@grafana/lezer-traceql";

const NAMES = { Identifier: "metrics", LabelName: "labels", QuotedLabelName: "labels" };

function found(parser, query) {
  const result = { query, errors: [], metrics: [], labels: [], functions: [] };
  parser.parse(query).iterate({
    enter(node) {
      const text = query.slice(node.from, node.to);
      if (node.type.isError) {
        result.errors.push(`${node.from}: ${query.slice(Math.max(0, node.from - 20), node.to + 20)}`);
      }
      if (node.name in NAMES) {
        result[NAMES[node.name]].push(text);
      }
      if (node.name === "FunctionIdentifier") {
        result.functions.push(text);
      }
    },
  });
  return result;
}

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const queries = JSON.parse(Buffer.concat(chunks).toString("utf-8"));
const answer = {
  promql: queries.promql.map((query) => found(promql, query)),
  traceql: queries.traceql.map((query) => found(traceql, query)),
};
process.stdout.write(JSON.stringify(answer));
