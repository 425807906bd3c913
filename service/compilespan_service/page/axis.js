// The axis of a timeline: its end and its grid lines.

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800,
  3600, 7200, 14400];

/** A round number of seconds that is at least `seconds`. */
export function niceEnd(seconds) {
  const step = STEPS.find((each) => each * 8 >= seconds) ?? 3600;
  return Math.max(step, Math.ceil(seconds / step) * step);
}

/** Grid lines of the shown range, in seconds since `begin`. */
export function ticks(from, shown, begin, width) {
  const length = shown / 1000;
  const step = STEPS.find((each) => length / each <= Math.max(3, width / 110)) ?? length;
  const first = Math.ceil((from - begin) / 1000 / step - 1e-9);
  const count = Math.floor(((from - begin) / 1000 + length) / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, index) => (first + index) * step);
}
