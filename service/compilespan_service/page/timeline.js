// A timeline: one SVG on a true time axis. Bars are compiles with their stages inside, marks below
// are their events. One tab stop; arrow keys move, + and - zoom, dragging zooms, too.

import { niceEnd, ticks } from "./axis.js";
import { element, svg } from "./dom.js";
import { duration, stageWord, tick } from "./format.js";
import { clusters } from "./marks.js";

const ROW = 42;
const BAR = 18;
const TOP = 26;
const LEAST_MS = 20;
const DRAG_PX = 6;

export class Timeline {
  /**
   * place: element to draw in; onSpan(span or null): called when the selected span changes;
   * onZoom(isZoomed): called when the shown range changes to a part or back to the whole.
   */
  constructor(place, { onSpan = () => {}, onZoom = () => {} } = {}) {
    Object.assign(this, { place, onSpan, onZoom });
    this.forget();
    place.addEventListener("keydown", (event) => this.key(event));
    place.addEventListener("pointerdown", (event) => this.press(event));
    place.addEventListener("pointermove", (event) => this.drag(event));
    place.addEventListener("pointerup", (event) => this.release(event));
    place.addEventListener("dblclick", () => this.zoom(null));
  }

  forget() {
    // bound: length of the axis; it grows in steps, so that bars do not move at each redraw.
    Object.assign(this, { focused: null, looked: null, bound: 0, zoomed: null, dragged: null, title: null });
  }

  /** Draw spans between two moments, in milliseconds since 1970. */
  draw(title, spans, from, to, nothing = "Nothing happened yet.") {
    if (this.title !== title) {
      this.forget();
      this.title = title;
      this.onZoom(false);
    }
    Object.assign(this, { spans, whole: { from, to }, nothing });
    this.redraw();
  }

  redraw() {
    const { place, spans, whole } = this;
    const rows = [...new Set(spans.map((span) => span.row))];
    if (!rows.length) {
      place.replaceChildren(element("p", { class: "muted" }, this.nothing));
      this.look(null);
      return;
    }
    this.measure(rows.length);
    const { width, height, from, shown } = this;
    const drawing = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": `${this.title}: `
        + `${spans.length} bars in ${duration((whole.to - whole.from) / 1000)}. Arrow keys move, + and - zoom.`,
    });
    for (const second of ticks(from, shown, whole.from, width)) {
      const at = this.x(whole.from + second * 1000);
      drawing.append(
        svg("line", { class: "grid", x1: at, x2: at, y1: TOP - 6, y2: height - 4 }),
        svg("text", { class: "axis", x: at, y: TOP - 11, "text-anchor": "middle" }, tick(second)));
    }
    this.follow();
    const current = spans.find((span) => span.key === this.focused) ?? spans[0];
    rows.forEach((row, index) => this.drawRow(drawing, row, TOP + index * ROW, current));
    if (this.dragged) {
      const [left, right] = [this.dragged.from, this.dragged.to].sort((a, b) => a - b);
      drawing.append(svg("rect", { class: "drag", x: left, y: TOP - 6, height: height - TOP + 2,
        width: right - left }));
    }
    const hadFocus = place.contains(document.activeElement);
    place.replaceChildren(drawing);
    if (hadFocus) this.focus();
    this.onSpan(spans.find((span) => span.key === this.focused) ?? null);
  }

  /** Keep the selection when a compile ends: its span then has another key. */
  follow() {
    const last = this.looked;
    if (!last || this.spans.some((span) => span.key === this.focused)) return;
    const same = this.spans.find((span) => span.name === last.name && span.start === last.start);
    if (same) this.focused = same.key;
  }

  measure(rows) {
    const { whole } = this;
    const length = (whole.to - whole.from) / 1000;
    if (length > this.bound || length < this.bound / 3) this.bound = niceEnd(length);
    this.width = Math.max(280, this.place.clientWidth);
    this.label = Math.min(190, this.width * 0.32);
    this.height = TOP + rows * ROW;
    this.from = this.zoomed?.from ?? whole.from;
    this.shown = this.zoomed ? this.zoomed.to - this.zoomed.from : this.bound * 1000;
  }

  x(time) {
    return this.label + ((time - this.from) / this.shown) * (this.width - this.label - 28);
  }

  time(x) {
    return this.from + ((x - this.label) / (this.width - this.label - 28)) * this.shown;
  }

  drawRow(drawing, row, y, current) {
    const inRow = this.spans.filter((span) => span.row === row);
    for (const span of inRow) {
      const [left, right] = this.edges(span);
      if (right < this.label || left > this.width) continue;
      drawing.append(this.bar(span, y, left, right, span === current));
    }
    const seen = inRow.flatMap((span) => span.events)
      .map((event) => ({ name: event.name, x: this.x(Date.parse(event.at)) }))
      .filter((event) => event.x >= this.label && event.x <= this.width);
    for (const { x, text, title } of clusters(seen)) {
      drawing.append(svg("text", { class: "mark", x, y: y + BAR + 14, "text-anchor": "middle" },
        text, svg("title", {}, title)));
    }
    // Drawn last, over bars that begin before the shown range.
    drawing.append(
      svg("rect", { class: "under", x: 0, y: y - 2, width: this.label - 2, height: BAR + 4 }),
      svg("text", { class: "name", x: 0, y: y + BAR - 4 }, shorten(row, this.label / 7.4),
        svg("title", {}, row)));
  }

  edges(span) {
    const end = span.end ?? this.whole.to;
    return [this.x(span.start), this.x(end)];
  }

  bar(span, y, left, right, isStop) {
    const end = span.end ?? this.whole.to;
    const group = svg("g", {
      class: span.kinds.join(" "), tabindex: isStop ? 0 : -1, role: "button", "data-key": span.key,
      "aria-pressed": String(span.key === this.focused),
      "aria-label": `${span.name}: ${kindsText(span.kinds)}, `
        + `${duration((end - span.start) / 1000)}${span.end === null ? " and going on" : ""}`,
    });
    group.append(svg("rect", {
      class: "bar", x: left, y, height: BAR, width: Math.max(3, right - left), rx: 2,
    }));
    for (const each of span.stages) {
      const [begin, over] = [this.x(each.start), this.x(each.end)];
      if (over - begin < 1) continue;
      group.append(
        svg("rect", { class: `stage ${each.stage}`, x: begin, y: y + 1, height: BAR - 2,
          width: over - begin }),
        svg("line", { class: "begins", x1: begin, x2: begin, y1: y + 1, y2: y + BAR - 1 }));
      const word = stageWord(each.stage).replace("building ", "").replace("tuning kernels", "tuning");
      if (over - begin > word.length * 7 + 8 && begin >= this.label) {
        group.append(svg("text", { class: "inside", x: begin + 4, y: y + BAR - 5 }, word));
      }
    }
    if (span.kinds.includes("failed")) {
      group.append(svg("text", { class: "cross", x: right + 4, y: y + BAR - 4 }, "✕"));
    }
    group.append(svg("title", {}, `${span.name} ${duration((end - span.start) / 1000)}`));
    group.addEventListener("focus", () => this.look(span.key));
    return group;
  }

  look(key) {
    if (key === this.focused) return;
    this.focused = key;
    for (const bar of this.place.querySelectorAll("g[tabindex]")) {
      bar.setAttribute("tabindex", bar.dataset.key === key ? 0 : -1);
      bar.setAttribute("aria-pressed", String(bar.dataset.key === key));
    }
    this.looked = this.spans?.find((span) => span.key === key) ?? null;
    this.onSpan(this.looked);
  }

  focus() {
    this.place.querySelector(`[data-key="${CSS.escape(this.focused ?? "")}"]`)?.focus();
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const ends = { Home: 0, End: this.spans.length - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step || ends !== undefined) {
      const ordered = [...this.place.querySelectorAll("g[tabindex]")];
      const at = ordered.findIndex((bar) => bar.dataset.key === this.focused);
      ordered[ends ?? Math.max(0, Math.min(ordered.length - 1, at + step))]?.focus();
    } else if (event.key === "+" || event.key === "=") {
      this.zoomBy(0.5);
    } else if (event.key === "-") {
      this.zoomBy(2);
    } else if (event.key === "0" || event.key === "Escape") {
      this.zoom(null);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Zoom around the middle of the selected bar. */
  zoomBy(factor) {
    const span = this.spans.find((each) => each.key === this.focused) ?? this.spans[0];
    if (!span) return;
    const middle = (span.start + (span.end ?? this.whole.to)) / 2;
    const length = this.shown * factor;
    const all = this.bound * 1000;
    this.zoom(length >= all ? null : { from: middle - length / 2, to: middle + length / 2 });
  }

  zoom(range) {
    if (range && range.to - range.from < LEAST_MS) return;
    const late = range ? Math.max(0, this.whole.from - range.from) : 0;
    this.zoomed = range && { from: range.from + late, to: range.to + late };
    this.onZoom(Boolean(range));
    this.redraw();
  }

  at(event) {
    const x = event.clientX - this.place.getBoundingClientRect().left;
    return Math.max(this.label, Math.min(this.width, x));
  }

  press(event) {
    if (event.button !== 0 || !this.spans?.length) return;
    const bar = event.target.closest?.("g[tabindex]");
    bar?.focus();
    this.dragged = { from: this.at(event), to: this.at(event) };
    this.place.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  drag(event) {
    if (!this.dragged) return;
    this.dragged.to = this.at(event);
    this.redraw();
  }

  release() {
    if (!this.dragged) return;
    const [left, right] = [this.dragged.from, this.dragged.to].sort((a, b) => a - b);
    this.dragged = null;
    if (right - left > DRAG_PX) this.zoom({ from: this.time(left), to: this.time(right) });
    else this.redraw();
  }
}

export function kindsText(kinds) {
  return kinds.join(", ").replaceAll("-", " ").replace("phase", "part of the start");
}

function shorten(text, letters) {
  return text.length <= letters ? text : `${text.slice(0, Math.max(4, letters - 1))}…`;
}
