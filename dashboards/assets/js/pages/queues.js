// QueueListTable: is anything wrong, and where?
import {Act, Empty, html, Icon, may, Spark, useMemo} from 'teknav/js/kit.js';
import {count, ms, rateUnit} from 'teknav/js/format.js';
import {Heading, numbers, openRow} from 'teknav/js/table.js';

export default function Queues({client, queues, attention, totals, sort, order, problem, shell}) {
  return html`
    <div class="head"><h1>Queues</h1></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!queues && !problem && html`<div class="skeleton"></div>`}
    ${queues && html`
      <${Attention} list=${attention} />
      <${Totals} totals=${totals} />
      <${QueueListTable} client=${client} queues=${queues} sort=${sort} order=${order} shell=${shell} />`}`;
}

function Attention({list}) {
  if (!list.length) {
    return html`<section class="attention" aria-label="Attention"><a class="good" href="/dashboard/owner/audit"><${Icon} name="check" /> Nothing needs attention.</a></section>`;
  }
  return html`<section class="attention" aria-label="Attention">${list.slice(0, 6).map((item) => html`
    <a key=${item.kind + item.queue} class=${item.severity} href=${item.href}><${Icon} name=${item.severity === 'bad' ? 'circle-alert' : 'triangle-alert'} />
      <span>${item.queue && html`<b>${item.queue}</b> `}${item.text}</span></a>`)}
    ${list.length > 6 && html`<span class="faint">and ${list.length - 6} more in the table</span>`}</section>`;
}

function Totals({totals}) {
  const unit = rateUnit([totals.completed_rate, totals.failed_rate]);
  return html`<section class="totals" aria-label="Totals">
    <div><b>${unit.text(totals.completed_rate)}</b><span>completed, last 5 min</span></div>
    <div class=${totals.failed_rate ? 'bad' : ''}><b>${unit.text(totals.failed_rate)}</b><span>given up, last 5 min</span></div>
    <div><b>${count(totals.waiting)}</b><span>waiting</span></div>
    <div><b>${count(totals.active)}</b><span>active</span></div>
    <div><b>${count(totals.delayed)}</b><span>delayed</span></div>
    <div class=${totals.dlq ? 'bad' : ''}><b>${count(totals.dlq)}</b><span>dead letters</span></div>
    <a href="/dashboard/owner/workers"><b>${count(totals.workers)}</b><span>worker processes</span></a></section>`;
}

const COLUMNS = [['name', 'Queue'], ['waiting', 'Waiting'], ['active', 'Active'], ['delayed', 'Delayed'], ['failed', 'Failed', 'Records of failed jobs that are kept: the newest of each queue, decided or not'], ['dlq', 'DLQ', 'Dead letters: all that wait to be replayed or deleted'], ['completed_rate', 'Completed'], ['failed_rate', 'Given up'], ['average', 'Average', 'Mean duration of the runs that completed in the last five minutes'], ['p95', 'p95', 'Of the runs that completed in the last five minutes'], [null, 'Last hour'], [null, html`<span class="unseen">Actions</span>`]];

function QueueListTable({client, queues, sort, order, shell}) {
  const unit = rateUnit(queues.flatMap((queue) => [queue.completed_rate, queue.failed_rate]));
  const heading = (key, text) => (key?.endsWith('_rate') ? `${text}/${unit.name}` : text);
  return html`<section class="card scroll"><table class="cards" aria-label="Queues"><thead><tr>${COLUMNS.map(([key, text, title], at) => html`
      <${Heading} client=${client} key=${at} name=${key} text=${heading(key, text)} title=${title} sort=${sort} order=${order} right=${at > 0 && at < 10} />`)}</tr></thead>
    <tbody>${queues.map((queue) => html`<${Row} key=${queue.name} client=${client} queue=${queue} mayAct=${may(shell, 'act', queue.name)} unitName=${unit.name} unit=${unit} />`)}</tbody></table></section>`;
}

/** Drawn again only when something of its queue has changed. */
function Row({client, queue, mayAct, unit, unitName}) {
  return useMemo(() => drawn(client, queue, mayAct, unit), [queue, mayAct, unitName]);
}

function drawn(client, queue, mayAct, unit) {
  const tone = queue.isPaused ? 'paused' : queue.waiting && !queue.workers ? 'bad' : queue.workers ? '' : 'idle';
  const state = queue.isPaused ? 'paused' : queue.workers ? 'running' : 'no workers';
  return html`<tr tabindex="0" ...${openRow(queue.href)}>
    <td class="name"><span class=${`dot ${tone}`} title=${state}></span><a href=${queue.href}>${queue.name}</a> ${queue.isPaused && html`<span class="badge warn">paused</span>`}<small title=${queue.purpose}>${queue.purpose}</small></td>
    ${numbers([['Waiting', queue.waiting], ['Active', queue.active], ['Delayed', queue.delayed], ['Failed', queue.failed]])}
    <td class="right" data-label="DLQ">${queue.dlq ? html`<a href=${queue.dlqHref} class="badge bad">${count(queue.dlq)}</a>` : html`<span class="zero">0</span>`}</td>
    ${[['Completed', queue.completed_rate], ['Given up', queue.failed_rate]].map(([label, value]) => html`<td class="right" key=${label} data-label=${`${label} per ${unit.name}`}>${value ? unit.read(value) : html`<span class="zero">0</span>`}</td>`)}
    <td class="right" data-label="Average">${ms(queue.avg_ms)}</td>
    <td class=${`right ${queue.runs < 200 ? 'soft' : ''}`} data-label="p95" title=${`over ${count(queue.runs)} completed runs of the last five minutes${queue.runs < 200 ? '; too few for a steady p95' : ''}`}>${ms(queue.p95_ms)}${queue.ofFew}</td>
    <td data-label="Last hour"><${Spark} values=${queue.hour} failed=${queue.hourFailed}
      label=${`${count(queue.hour.reduce((sum, n) => sum + n, 0))} finished in the last hour, ${count(queue.hourFailed.reduce((sum, n) => sum + n, 0))} of them failed`} /></td>
    <td class="acts">${mayAct && html`<${Act} client=${client} action=${queue.isPaused ? 'resume' : 'pause'} args=${{queue: queue.name}}
      title=${queue.isPaused ? `Resume ${queue.name}` : `Pause ${queue.name}`} icon=${queue.isPaused ? 'play' : 'pause'} tone="small" />`}</td></tr>`;
}
