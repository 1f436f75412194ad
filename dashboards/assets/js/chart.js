// Time series, drawn by uPlot in the page's own colours.
import {html, useEffect, useRef} from 'teknav/vendor/preact.js';
import {moment} from 'teknav/js/format.js';
import uPlot from 'teknav/vendor/uplot.js';

/** `at` are seconds; `series` is [{label, values, tone, fill, format}]. Values may be null where nothing is known. */
export function Chart({title, at, series, height = 190, format = (value) => value}) {
  const box = useRef(null);
  const plot = useRef(null);
  const shape = series.map((line) => line.label + line.tone).join();
  useEffect(() => {
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(box.current, series, height, format), [at, ...series.map((line) => line.values)], box.current);
      nameLegend(plot.current.root.querySelector('.u-legend'), title);
    };
    draw();
    const watcher = new ResizeObserver(() => plot.current?.setSize({width: box.current.clientWidth, height}));
    watcher.observe(box.current);
    const themes = new MutationObserver(draw);
    themes.observe(document.documentElement, {attributes: true, attributeFilter: ['data-theme']});
    return () => { watcher.disconnect(); themes.disconnect(); plot.current?.destroy(); plot.current = null; };
  }, [shape]);
  useEffect(() => plot.current?.setData([at, ...series.map((line) => line.values)]), [at, series]);
  return html`<figure class="chart" aria-label=${title}><figcaption class="soft"><b>${title}</b></figcaption><div ref=${box}></div></figure>`;
}

/** uPlot draws the values under the pointer as a table without a name. */
function nameLegend(table, title) {
  table.ariaLabel = `${title}: values`;
  for (const heading of table.querySelectorAll('th')) heading.scope = 'row';
}

/** The values that no line leads to or from: they are drawn as points. */
function alone(chart, number) {
  const values = chart.data[number];
  const isKnown = (at) => values[at] !== null && values[at] !== undefined;
  return [...values.keys()].filter((at) => isKnown(at) && !isKnown(at - 1) && !isKnown(at + 1));
}

function options(box, series, height, format) {
  const colour = (name) => getComputedStyle(box).getPropertyValue(`--${name}`).trim();
  const two = (number) => String(number).padStart(2, '0');
  const clock = (_, ticks, __, ___, step) => ticks.map((at) => { const on = new Date(at * 1_000); return step >= 86_400 || (on.getHours() === 0 && on.getMinutes() === 0) ? on.toLocaleDateString(undefined, {month: 'short', day: 'numeric'}) : `${two(on.getHours())}:${two(on.getMinutes())}`; });
  const axis = {stroke: colour('faint'), grid: {stroke: colour('line'), width: 1}, ticks: {stroke: colour('line'), width: 1}, font: '11px system-ui'};
  return {
    width: box.clientWidth || 600,
    height,
    cursor: {sync: {key: 'time'}, points: {size: 6}},
    legend: {live: true},
    scales: {y: {range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1]}},
    axes: [{...axis, values: clock}, {...axis, size: 62, values: (_, ticks) => ticks.map(format)}],
    series: [{value: (_, at) => at === null ? '' : moment(new Date(at * 1_000).toISOString())}, ...series.map((line) => ({
      label: line.label,
      stroke: colour(line.tone),
      width: 1.6,
      dash: line.dash,
      fill: line.fill ? `${colour(line.tone)}22` : undefined,
      points: {show: false, filter: alone, size: 6},
      spanGaps: false,
      value: (_, value) => value === null || value === undefined ? '–' : format(value),
    }))],
  };
}
