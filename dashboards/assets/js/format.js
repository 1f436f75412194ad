// Numbers, spans and times, as an operator reads them.

const grouped = new Intl.NumberFormat('en-US');

export function count(value) {
  return value === null || value === undefined ? '–' : grouped.format(value);
}

/** One unit for rates that stand together, by the largest: its name, how each reads in it, and with its unit. */
export function rateUnit(perSecond) {
  const [name, factor] = Math.max(0, ...perSecond.map((value) => value ?? 0)) < 1 ? ['min', 60] : ['s', 1];
  const read = (value) => (value * factor > 0 && value * factor < 0.01 ? '<0.01' : trim(value * factor));
  return {name, read, text: (value) => (value === null || value === undefined ? '–' : `${read(value)}/${name}`)};
}

export function ms(value) {
  if (value === null || value === undefined) return '–';
  if (value < 1) return '<1 ms';
  if (value < 1_000) return `${trim(value)} ms`;
  return span(value / 1_000);
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 60) return `${trim(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds % 3_600 / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds % 86_400 / 3_600)} h`;
}

/** A share of 1. */
export function percent(share) {
  return share === null || share === undefined ? '–' : `${Number((share * 100).toPrecision(3))} %`;
}

function trim(value) {
  return value >= 100 ? grouped.format(Math.round(value)) : String(Number(value.toPrecision(3)));
}

const clock = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23'});
const day = new Intl.DateTimeFormat(undefined, {month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23'});

/** A moment in the viewer's zone; today's without the date. */
export function moment(iso) {
  if (!iso) return '–';
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

export function ago(iso, now = Date.now()) {
  if (!iso) return '–';
  const seconds = (now - new Date(iso).getTime()) / 1_000;
  if (Math.abs(seconds) < 1) return 'now';
  return seconds < 0 ? `in ${rough(-seconds)}` : `${rough(seconds)} ago`;
}

function rough(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export function utc(iso) {
  return iso ? new Date(iso).toISOString().replace('T', ' ').replace('Z', ' UTC') : '';
}

/** Text with the signs that would reorder it written out, as `with_seen_overrides` does on the server. */
export function seen(text) {
  return typeof text === 'string' ? text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`) : text;
}
