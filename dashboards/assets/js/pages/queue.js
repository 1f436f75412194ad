// QueueDetailTabs: what is on this queue, what failed, and how fast is it?
import {Act, Badge, Choice, Empty, html, Icon, may, Pager, SearchField, Tabs, Time, useState} from 'teknav/js/kit.js';
import {Chart} from 'teknav/js/chart.js';
import {Dialog} from 'teknav/js/dialog.js';
import {count, ms, percent, rateUnit, span} from 'teknav/js/format.js';
import {NewJob, problemsOf, Wrong} from 'teknav/js/form.js';
import {JobsTable} from 'teknav/js/jobs_table.js';
import {Groups} from 'teknav/js/groups.js';
import {NarrowOrder} from 'teknav/js/table.js';

const STATES = ['waiting', 'active', 'delayed', 'completed', 'cancelled'];
/** Of these the newest records are kept only: their number says nothing of how many there were. */
const KEPT = ['completed', 'cancelled'];

export default function Queue({client, queue, tab, state, list, causes, metrics, problem, shell}) {
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  return html`
    <div class="head"><h1>${queue?.name ?? 'Queue'}</h1>
      ${queue && html`${queue.isPaused ? html`<${Badge} tone="warn">paused <${Time} at=${queue.pausedSince} relative /></${Badge}>` : queue.workers ? html`<${Badge} tone="good">running</${Badge}>` : html`<${Badge} tone="bad">no workers</${Badge}>`}
        <p class="grow">${queue.purpose}</p>
        ${may(shell, 'enqueue', queue.name) && html`<button type="button" class="button" onClick=${() => setDialog('new')}><${Icon} name="plus" /> New job</button>`}
        ${may(shell, 'manage', queue.name) && html`<button type="button" class="button" onClick=${() => setDialog('limits')}><${Icon} name="sliders-horizontal" /> Limits</button>`}
        ${may(shell, 'act', queue.name) && html`<${Act} client=${client} action=${queue.isPaused ? 'resume' : 'pause'} args=${{queue: queue.name}} icon=${queue.isPaused ? 'play' : 'pause'}>${queue.isPaused ? 'Resume' : 'Pause'}</${Act}>`}`}</div>
    ${!queue && !problem && html`<div class="skeleton"></div>`}
    ${queue && html`<${Facts} queue=${queue} />
      <${Tabs} client=${client} value=${tab} tabs=${[['jobs', 'Jobs', queue.waiting + queue.active + queue.delayed, 'to do'], ['failed', 'Failed', queue.failed], ['dlq', 'DLQ', queue.dlq], ['metrics', 'Metrics']]} />`}
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${queue && !problem && tab === 'dlq' && html`<${Groups} causes=${causes} /><div><a class="button" href=${queue.dlqHref}><${Icon} name="list-checks" /> Work on the dead letters</a></div>`}
    ${queue && !problem && tab === 'metrics' && html`<${Metrics} client=${client} metrics=${metrics} />`}
    ${queue && !problem && list && (tab === 'jobs' || tab === 'failed') && html`<section class="card">
      <div class="title filters">${tab === 'jobs' && html`<${Choice} client=${client} name="state" label="State" value=${state} options=${STATES.map((name) => [name, `${name} (${count(queue[name])}${KEPT.includes(name) ? ' kept' : ''})`])} />`}
        ${queue.jobNames.length > 1 && html`<${Choice} client=${client} name="name" label="Job" value=${list.name} options=${[['', 'all'], ...queue.jobNames.map((name) => [name, name])]} />`}
        ${shell.maySearch && html`<${SearchField} client=${client} name="text" placeholder="In the payload" value=${list.text} />`}
        <${SearchField} client=${client} name="trace" placeholder="Trace id" value=${list.trace} />
        ${state === 'failed' && html`<${Choice} client=${client} name="since" label="Since" value=${list.since} options=${[['', 'all'], ['15m', '15 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['1d', '1 day']]} />`}${list.order && html`<${NarrowOrder} client=${client} order=${list.order} />`}</div>
      ${state === 'failed' && queue.failed !== queue.dlq && html`<p class="note">${count(queue.failed)} records of failed jobs are kept (the newest ${count(queue.failedKept)}), of ${count(queue.failedTotal)} that failed since the queue's first job. Dead letters are counted apart: ${count(queue.dlq)} stay until someone replays or deletes them.</p>`}
      <${JobsTable} client=${client} queue=${queue.name} href=${queue.href} jobs=${list.jobs} state=${state} order=${list.order} mayAct=${may(shell, 'act', queue.name)} />
      <${Pager} client=${client} first=${list.first} shown=${list.jobs.length} total=${list.total} next=${list.next} isLater=${list.isLater} note=${list.note} /></section>`}
    ${dialog === 'new' && html`<${NewJob} client=${client} queue=${queue.name} jobs=${queue.schemas} onClose=${close} />`}
    ${dialog === 'limits' && html`<${Limits} client=${client} queue=${queue} onClose=${close} />`}`;
}

function Facts({queue}) {
  const unit = rateUnit([queue.completedRate, queue.failedRate]);
  return html`<section class="totals" aria-label="Now">
    <div><b>${unit.text(queue.completedRate)}</b><span>completed, last 5 min</span></div>
    <div class=${queue.failedRate ? 'bad' : ''}><b>${unit.text(queue.failedRate)}</b><span>given up, last 5 min</span></div>
    <div><b>${count(queue.waiting)}</b><span>waiting${queue.oldestMs ? `, the oldest for ${span(queue.oldestMs / 1_000)}` : ''}</span></div>
    <div><b>${count(queue.active)}</b><span>active on ${count(queue.workers)} worker processes</span></div>
    <div class=${queue.errorRate ? 'bad' : ''}><b>${percent(queue.errorRate)}</b><span>error rate of runs, last 5 min</span></div>
    <div><b>${ms(queue.p95Ms)}</b><span>p95 of ${count(queue.runs)} completed ${queue.runs === 1 ? 'run' : 'runs'} (p50 ${ms(queue.p50Ms)})</span></div>
    <div class=${queue.dlq ? 'bad' : ''}><b>${count(queue.dlq)}</b><span>dead letters</span></div>
    <div><b>${count(queue.completedTotal)}</b><span>completed, ${count(queue.failedTotal)} failed, since the first job</span></div>
    <div><b>${queue.limits.concurrency}</b><span>jobs per process${queue.limits.global_concurrency ? `, ${queue.limits.global_concurrency} in all` : ''}${queue.limits.rate_count ? `, ${queue.limits.rate_count} per ${span(queue.limits.rate_period_ms / 1_000)}` : ''}</span></div></section>`;
}

const DURATIONS_OF = {completed: 'completed runs', failed: 'failed runs', any: 'all runs'};
const OUTCOMES = Object.entries(DURATIONS_OF);
const RANGES = [['1h', '1 hour'], ['6h', '6 hours'], ['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days']];

function Metrics({client, metrics}) {
  if (!metrics) return html`<div class="skeleton"></div>`;
  const {at} = metrics;
  const unit = rateUnit([...metrics.completedRate, ...metrics.failedRate, ...metrics.retriedRate]);
  return html`<section class="card"><div class="title filters"><${Choice} client=${client} name="range" label="Window" value=${metrics.range} options=${RANGES} />
      <${Choice} client=${client} name="outcome" label="Durations of" value=${metrics.outcome} options=${OUTCOMES} />
      <span class="faint grow">${metrics.asOf}</span><span class="faint">one point is ${span(metrics.stepSeconds)}; ${count(metrics.runs)} ${metrics.outcome === 'any' ? '' : `${metrics.outcome} `}${metrics.runs === 1 ? 'run' : 'runs'} with a duration</span></div>
    ${metrics.ended === 0 ? html`<${Empty} icon="activity" title="Nothing ran in this window">Choose a longer one, or look at the jobs that wait.</${Empty}>` : html`<div class="body columns">
      <${Chart} title=${`Finished per ${unit.name === 'min' ? 'minute' : 'second'}`} at=${at} format=${unit.text} series=${[{label: 'completed', values: metrics.completedRate, tone: 'accent', fill: true}, {label: 'failed', values: metrics.failedRate, tone: 'bad'}, {label: 'retried', values: metrics.retriedRate, tone: 'warn'}]} />
      <${Chart} title="Error rate" at=${at} format=${percent} series=${[{label: 'runs that failed', values: metrics.errorRate, tone: 'bad', fill: true}]} />
      <${Chart} title=${`Duration of ${DURATIONS_OF[metrics.outcome]}`} at=${at} format=${ms} series=${[{label: 'p50', values: metrics.p50, tone: 'info'}, {label: 'p95', values: metrics.p95, tone: 'warn'}, {label: 'p99', values: metrics.p99, tone: 'bad', dash: [4, 3]}]} />
      <${Chart} title="Waited before a worker took it (mean)" at=${at} format=${ms} series=${[{label: 'waited', values: metrics.waited, tone: 'info', fill: true}]} /></div>`}</section>`;
}

function Limits({client, queue, onClose}) {
  const [values, setValues] = useState({...queue.limits});
  const [isBusy, setBusy] = useState(false);
  const [problems, setProblems] = useState({});
  const fields = [['concurrency', 'Jobs at once per worker process'], ['global_concurrency', 'Jobs at once over all processes'], ['rate_count', 'Jobs handed out per period'], ['rate_period_ms', 'The period, ms']];
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    const numbers = Object.fromEntries(fields.map(([key]) => [key, Number(values[key]) || 0]));
    const answer = await client.ask('configure', {queue: queue.name, ...numbers}, Object.keys(numbers));
    setBusy(false);
    setProblems(problemsOf(answer));
    if (answer.ok) onClose();
  };
  return html`<${Dialog} title=${`Limits of ${queue.name}`} onClose=${onClose}><p class="soft">They hold at once, on every worker. Leave a field empty for what the catalogue says.</p>
    <form onSubmit=${send}>${fields.map(([key, label]) => html`<label class="stacked" key=${key}>${label}<input name=${key} type="number" min="0" placeholder=${queue.standard[key] ?? 'no limit'}
      value=${values[key] === queue.standard[key] ? '' : values[key] ?? ''} onInput=${(event) => setValues({...values, [key]: event.target.value})} aria-invalid=${Boolean(problems[key])} /><${Wrong} text=${problems[key]} /></label>`)}
    <div class="row end"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Set</button></div></form></${Dialog}>`;
}
