// format.js -- numbers as people read them.

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function threeDigits(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function bytes(value) {
  let unit = 0;
  // 1023.7 would be shown as 1024.
  while (Math.abs(value) >= 1023.5 && unit < BYTES.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${threeDigits(value)} ${BYTES[unit]}`;
}

export function count(value) {
  return Number(value).toLocaleString('en-US');
}

export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

// Of nanoseconds.
export function duration(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 999.5e3) return `${threeDigits(ns / 1e3)} µs`;
  if (ns < 999.5e6) return `${threeDigits(ns / 1e6)} ms`;
  if (ns < 60e9) return `${threeDigits(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  const parts = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ].map(([size, unit], i, all) => [
    Math.floor((i ? seconds % all[i - 1][0] : seconds) / size),
    unit,
  ]);
  const first = parts.findIndex(([n]) => n > 0);
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ');
}

export function percent(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '0 %';
}

export function basename(path) {
  return path ? path.slice(path.lastIndexOf('/') + 1) : '';
}
