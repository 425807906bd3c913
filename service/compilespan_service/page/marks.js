// Marks of events below a bar; marks that would overlap become one mark with counts.

export const MARKS = {
  "torch.compile.graph": ["◆", "graph"],
  "torch.compile.graph_break": ["▾", "graph break"],
  "torch.compile.recompile": ["↻", "recompile"],
  "torch.compile.recompile_limit": ["✕", "recompile limit"],
};
const LETTER = 10;
const GAP = 4;

/** Turn [{name, x}] into [{x, text, title}] without overlaps. */
export function clusters(events) {
  const found = [];
  for (const { name, x } of events.filter((each) => MARKS[each.name]).sort((a, b) => a.x - b.x)) {
    const last = found.at(-1);
    if (last && x - width(last) / 2 < last.end) {
      last.counts.set(name, (last.counts.get(name) ?? 0) + 1);
      last.to = x;
    } else {
      found.push({ from: x, to: x, counts: new Map([[name, 1]]) });
    }
    const grown = found.at(-1);
    grown.end = (grown.from + grown.to) / 2 + width(grown) / 2 + GAP;
  }
  return found.map(({ from, to, counts }) => ({
    x: (from + to) / 2, text: textOf(counts),
    title: [...counts].map(([name, count]) => `${count} × ${MARKS[name][1]}`).join(", "),
  }));
}

function textOf(counts) {
  return [...counts].map(([name, count]) => MARKS[name][0] + (count > 1 ? `×${count}` : "")).join("");
}

function width(cluster) {
  return textOf(cluster.counts).length * LETTER;
}
