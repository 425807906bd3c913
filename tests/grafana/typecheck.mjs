// Type-checks dashboards against @grafana/schema: JSON {name: dashboard} on stdin, errors on stdout.
import path from "node:path";
import ts from "typescript";

const OPTIONS = {
  barchart: "BarChart",
  logs: "Logs",
  stat: "Stat",
  table: "Table",
  timeseries: "TimeSeries",
};
const HAVE_FIELD_CONFIG = ["barchart", "timeseries", "table"];

// In JSON the value of a string enumeration is the string itself.
const PLAIN = `
import type { Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? (string extends T ? string : \`\${T}\`)
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer E> ? Plain<E>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
`;

function source(dashboard) {
  const lines = [PLAIN, `export const dashboard: Plain<Dashboard> = ${JSON.stringify(dashboard)};`];
  for (const [type, name] of Object.entries(OPTIONS)) {
    const module = `@grafana/schema/dist/esm/raw/composable/${type}/panelcfg/x/${name}PanelCfg_types.gen`;
    lines.push(`import type * as ${name} from "${module}";`);
  }
  for (const panel of dashboard.panels.filter((each) => each.type in OPTIONS)) {
    const name = OPTIONS[panel.type];
    const options = JSON.stringify(panel.options);
    lines.push(`export const options${panel.id}: Plain<Partial<${name}.Options>> = ${options};`);
    const custom = panel.fieldConfig.defaults.custom;
    if (custom !== undefined) {
      if (!HAVE_FIELD_CONFIG.includes(panel.type)) {
        throw new Error(`${panel.type} has no field configuration of its own`);
      }
      const text = JSON.stringify(custom);
      lines.push(`export const custom${panel.id}: Plain<Partial<${name}.FieldConfig>> = ${text};`);
    }
  }
  return lines.join("\n");
}

// One program for all: it is the library's types that take time.
function errors(texts) {
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    types: [],
  };
  const files = new Map(
    Object.entries(texts).map(([name, text]) => [
      path.join(import.meta.dirname, `${name}.dashboard.ts`),
      { name, text },
    ]),
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file)?.text ?? readFile(file);
  host.getSourceFile = (file, ...rest) =>
    files.has(file)
      ? ts.createSourceFile(file, files.get(file).text, options.target)
      : getSourceFile(file, ...rest);
  const program = ts.createProgram([...files.keys()], options, host);
  const found = Object.fromEntries(Object.keys(texts).map((name) => [name, []]));
  for (const each of ts.getPreEmitDiagnostics(program)) {
    const { name } = files.get(each.file?.fileName) ?? {};
    if (name === undefined) {
      throw new Error(ts.flattenDiagnosticMessageText(each.messageText, "\n"));
    }
    found[name].push(ts.flattenDiagnosticMessageText(each.messageText, "\n"));
  }
  return found;
}

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const dashboards = JSON.parse(Buffer.concat(chunks).toString("utf-8"));
const texts = Object.fromEntries(
  Object.entries(dashboards).map(([name, dashboard]) => [name, source(dashboard)]),
);
process.stdout.write(JSON.stringify(errors(texts)));
