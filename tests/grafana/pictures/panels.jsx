// Draws the panels of a dashboard: window.BOARD = {title, variables, panels: [{panel, frames}]}.
// Numbers, colours, units and transformations are Grafana's own. Bars and tables are drawn here, from
// what Grafana's code makes of the data: its component library has no bar chart. What needs Grafana
// itself (traces, logs, alerts, lines) is an empty box that says so.
import React from "react";
import { createRoot } from "react-dom/client";
import {
  FieldType,
  ThemeContext,
  applyFieldOverrides,
  createTheme,
  formattedValueToString,
  getFieldDisplayName,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode } from "@grafana/ui";

const COLUMN = 60;
const ROW = 36;
const GAP = 8;
const HEADING = 34;
const OPTIONS = ["unit", "color", "noValue", "links", "mappings", "thresholds", "min"];
const CUSTOM = ["width", "hideFrom", "cellOptions", "fillOpacity", "lineWidth"];

const { title, variables, panels, mode } = window.BOARD;
const theme = createTheme({ colors: { mode } });
const { text, background, border } = theme.colors;

const option = (id, isCustom) => ({
  id: isCustom ? `custom.${id}` : id,
  name: id,
  path: id,
  isCustom,
  process: (value) => value,
  shouldApply: () => true,
  settings: {},
});
standardFieldConfigEditorRegistry.setInit(() => [
  ...OPTIONS.map((id) => option(id, false)),
  ...CUSTOM.map((id) => option(id, true)),
]);
const byId = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
standardTransformersRegistry.setInit(() =>
  [...byId.values()].map((each) => ({ ...each, transformation: () => each })),
);

const Empty = ({ panel }) => <div style={{ padding: 12, fontSize: 20 }}>{panel.fieldConfig.defaults.noValue}</div>;

function Stat({ frames, panel, width, height }) {
  const values = frames.flatMap((frame) =>
    frame.fields
      .filter((field) => field.type === FieldType.number && field.values.length)
      .map((field) => ({
        ...field.display(field.values.at(-1)),
        title: getFieldDisplayName(field, frame, frames),
      })),
  );
  if (!values.length) return <Empty panel={panel} />;
  return (
    <div style={{ display: "flex" }}>
      {values.map((value) => (
        <BigValue
          key={value.title}
          theme={theme}
          width={Math.floor((width - 20) / values.length)}
          height={height}
          value={value}
          colorMode={BigValueColorMode.Value}
          graphMode={BigValueGraphMode.None}
          textMode={panel.options.textMode}
          wideLayout={panel.options.wideLayout}
          count={values.length}
        />
      ))}
    </div>
  );
}

function Bars({ frames, panel, width, height }) {
  const [frame] = frames;
  const names = frame?.fields.find((field) => field.type === FieldType.string);
  if (!names?.values.length) return <Empty panel={panel} />;
  const columns = frame.fields.filter((field) => field.type === FieldType.number);
  const total = (row) => columns.reduce((sum, field) => sum + (field.values[row] ?? 0), 0);
  const most = Math.max(...names.values.map((_, row) => total(row)));
  const left = Math.max(...names.values.map((each) => each.length)) * 7 + 10;
  const step = (height - 30) / names.values.length;
  const thick = Math.min(40, step * 0.8);
  return (
    <>
      <svg width={width} height={height - 26}>
        {names.values.map((name, row) => {
          let at = left;
          const middle = step * (row + 0.5);
          return (
            <g key={name} fontSize="12">
              <text x={left - 6} y={middle + 4} textAnchor="end" fill={text.primary}>
                {name}
              </text>
              {columns.map((field) => {
                const value = field.values[row] ?? 0;
                const long = (value / most) * (width - left - 20);
                const x = at;
                at += long;
                return (
                  <g key={field.name}>
                    <rect x={x} y={middle - thick / 2} width={long} height={thick} fill={field.config.color.fixedColor} />
                    {long > 45 && (
                      <text x={x + 5} y={middle + 4} fill="white">
                        {formattedValueToString(field.display(value))}
                      </text>
                    )}
                  </g>
                );
              })}
            </g>
          );
        })}
      </svg>
      <div style={{ fontSize: 12, paddingLeft: 8 }}>
        {columns.map((field) => (
          <span key={field.name} style={{ marginRight: 14 }}>
            <b style={{ color: field.config.color.fixedColor }}>▬</b> {getFieldDisplayName(field, frame, frames)}
          </span>
        ))}
      </div>
    </>
  );
}

function Rows({ frames, panel, width, height }) {
  const [frame] = frames;
  if (!frame?.length) return <Empty panel={panel} />;
  const columns = frame.fields.filter(
    (field) => !field.config.custom?.hideFrom?.viz && field.name !== "traceIdHidden",
  );
  const [sorting] = panel.options.sortBy ?? [];
  const key = columns.find((field) => getFieldDisplayName(field, frame, frames) === sorting?.displayName);
  const rows = [...Array(frame.length).keys()];
  if (key) rows.sort((one, other) => (key.values[other] ?? -1) - (key.values[one] ?? -1));
  const cell = { padding: "4px 6px", overflow: "hidden", whiteSpace: "nowrap", textOverflow: "ellipsis" };
  const align = (field) => ({ textAlign: field.type === FieldType.number ? "right" : "left" });
  return (
    <div style={{ height, overflow: "hidden" }}>
      <table style={{ width, tableLayout: "fixed", borderCollapse: "collapse", fontSize: 13 }}>
        <thead>
          <tr>
            {columns.map((field) => (
              <th key={field.name} style={{ ...cell, ...align(field), width: field.config.custom?.width, color: text.link }}>
                {getFieldDisplayName(field, frame, frames)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row} style={{ borderTop: `1px solid ${border.weak}` }}>
              {columns.map((field) => {
                const value = field.display(field.values[row]);
                const isColoured = field.config.custom?.cellOptions?.type === "color-text";
                const plain = field.config.links ? text.link : text.primary;
                return (
                  <td key={field.name} style={{ ...cell, ...align(field), color: isColoured ? value.color : plain }}>
                    {formattedValueToString(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const DRAWN = { stat: Stat, barchart: Bars, table: Rows };

function Panel({ panel, frames }) {
  const [shown, show] = React.useState(null);
  const { x, y, w, h } = panel.gridPos;
  const width = w * COLUMN - GAP;
  const height = h * ROW - GAP;
  React.useEffect(() => {
    const { fieldConfig, transformations = [] } = panel;
    const asIs = { fieldConfig, theme, timeZone: "utc", replaceVariables: (each) => each };
    transformDataFrame(transformations, frames.map(toDataFrame)).subscribe((data) =>
      show(applyFieldOverrides({ ...asIs, data })),
    );
  }, []);
  const place = { position: "absolute", left: x * COLUMN, top: y * ROW, width, height, overflow: "hidden" };
  if (panel.type === "row") return <div style={{ ...place, fontWeight: 500 }}>⌄ {panel.title}</div>;
  const Body = DRAWN[panel.type];
  return (
    <div style={{ ...place, background: background.primary, border: `1px solid ${border.weak}` }}>
      <div style={{ padding: "6px 8px", fontSize: 14, fontWeight: 500 }}>{panel.title}</div>
      {Body === undefined && <div style={{ padding: 12, color: text.secondary }}>{panel.type}: only in Grafana itself</div>}
      {Body && shown && <Body frames={shown} panel={panel} width={width} height={height - HEADING} />}
    </div>
  );
}

const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
Object.assign(document.body.style, { margin: 0, background: background.canvas });
createRoot(document.getElementById("root")).render(
  <ThemeContext.Provider value={theme}>
    <div style={{ padding: 8, fontFamily: "Inter, Helvetica, Arial, sans-serif", color: text.primary }}>
      <div style={{ fontSize: 18 }}>{title}</div>
      <div style={{ margin: "6px 0" }}>
        {variables.map(([name, value]) => (
          <span key={name} style={{ marginRight: 12, padding: "2px 8px", border: `1px solid ${border.medium}` }}>
            <b>{name}</b> {value} ▾
          </span>
        ))}
      </div>
      <div style={{ position: "relative", height: bottom * ROW }}>
        {panels.map((each) => (
          <Panel key={each.panel.id} {...each} />
        ))}
      </div>
    </div>
  </ThemeContext.Provider>,
);
