// Numbers and times as text.

/** Three significant digits: "0.012 s", "14.9 s", "2 min 05 s"; null is a dash. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds >= 100) {
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  }
  const digits = seconds < 0.9995 ? 3 : seconds < 9.995 ? 2 : seconds < 99.95 ? 1 : 0;
  return `${seconds.toFixed(digits)} s`;
}

/** A moment of an axis, which is a round number: "0.5 s", "40 s", "1 min 40 s", "2 min". */
export function tick(seconds) {
  const rest = Number((seconds % 60).toFixed(2));
  const minutes = Math.floor(seconds / 60);
  return [minutes && `${minutes} min`, (rest || !minutes) && `${rest} s`].filter(Boolean).join(" ");
}

export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

export function clock(iso) {
  return new Date(iso).toLocaleTimeString([], { hour12: false });
}

/** A moment with its time zone. */
export function moment(iso) {
  return new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "long" });
}

export function day(iso) {
  return new Date(iso).toLocaleString([], { dateStyle: "short", timeStyle: "short", hour12: false });
}

/** The components of the totals; style.css has a colour for each. */
export const COMPONENTS = ["encoder", "language_model", "other"];

export function worded(component) {
  return component.replaceAll("_", " ");
}

export function componentClass(component) {
  return component.replaceAll("_", "-");
}

const STAGES = {
  trace: "tracing", autograd: "AOTAutograd", lower: "lowering", kernels: "building kernels",
  autotune: "tuning kernels", cache: "caches", other: "other",
};

/** The stage of a compile, in words. */
export function stageWord(stage) {
  return STAGES[stage] ?? stage;
}

/** Seconds by stage, longest first: "building kernels 6.90 s, lowering 1.80 s". */
export function stagesText(stages) {
  return Object.entries(stages ?? {}).filter(([, seconds]) => seconds >= 0.0005)
    .sort((a, b) => b[1] - a[1])
    .map(([stage, seconds]) => `${stageWord(stage)} ${duration(seconds)}`).join(", ");
}

/** A path without its part up to site-packages. */
export function shortPath(path) {
  return path.replace(/^.*\/(site|dist)-packages\//, "");
}

/** Bytes: "7.9 GB". */
export function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Dynamo's guard, without its compile id and the source comment. */
export function guard(reason) {
  return (reason || "").replace(/^\d+\/\d+: /, "").split("  #")[0];
}
