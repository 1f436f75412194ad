// Audit: who did what, and what became of it?
import {Badge, Choice, Copy, Empty, html, Icon, SearchField, Time, Words} from 'teknav/js/kit.js';
import {ms, utc} from 'teknav/js/format.js';

const KINDS = [['people', 'what people did'], ['dlq.', 'dead letters'], ['queue.', 'queues'], ['user.', 'users and sign-ins'], ['job.', 'jobs'], ['all', 'everything']];
const SPANS = [['', 'any time'], ['15m', '15 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['1d', '1 day'], ['7d', '7 days'], ['30d', '30 days']];
const OUTCOMES = {done: 'good', refused: 'warn', failed: 'bad', requested: 'info', interrupted: 'bad'};

export default function Audit({client, entries, filters, queues, next, isLater, lookedBackTo, problem, shell}) {
  return html`<div class="head"><h1>Audit</h1><p class="grow">Every action of a person stands here before it is carried out, every move of a job after it.</p></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!entries && !problem && html`<div class="skeleton"></div>`}
    ${entries && html`<section class="card"><div class="title filters">
        <${Choice} client=${client} name="kind" label="Show" value=${filters.kind} options=${KINDS} />
        <${Choice} client=${client} name="queue" label="Queue" value=${filters.queue} options=${[['', 'all'], ...queues.map((name) => [name, name])]} />
        <${Choice} client=${client} name="since" label="Since" value=${filters.since} options=${SPANS} />
        <${SearchField} client=${client} name="actor" placeholder="By whom" value=${filters.actor} />
        ${shell.maySearch && html`<${SearchField} client=${client} name="text" placeholder="In the detail" value=${filters.text} />`}
        ${['job', 'trace', 'fingerprint', 'error_type'].filter((name) => filters[name]).map((name) => html`<button type="button" key=${name} class="button small" onClick=${() => client.go({[name]: null, cursor: null})}>${name} ${filters[name].slice(0, 16)} <${Icon} name="x" size=${12} /></button>`)}</div>
      ${entries.length === 0 ? html`<${Empty} icon="scroll-text" title="Nothing matches">${lookedBackTo ? `Looked back to ${utc(lookedBackTo)}; go on to look further.` : 'Choose “everything”, or a longer time.'}</${Empty}>`
        : html`<div class="scroll"><table class="cards" aria-label="Audit entries"><thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">Action</th><th scope="col">On</th><th scope="col">Outcome</th><th scope="col">Detail</th></tr></thead>
        <tbody>${entries.map((entry) => html`<tr key=${entry.key}><td data-label="When"><${Time} at=${entry.at} /></td><td class="name"><${Words} as="b" text=${entry.actor ?? '–'} /></td><td data-label="Action"><code>${entry.action}</code></td>
          <td data-label="On">${entry.queueHref ? html`<a href=${entry.queueHref}>${entry.queue}</a>` : entry.queue ?? ''} ${entry.jobHref ? html`<a href=${entry.jobHref}>${entry.jobName ?? 'job'}</a> ` : ''}${entry.jobId && html`<${Copy} text=${entry.jobId} short />`}</td>
          <td data-label="Outcome">${entry.outcome && html`<${Badge} tone=${OUTCOMES[entry.outcome]}>${entry.outcome}</${Badge}>`}${entry.errorType && html`<${Badge} tone="bad">${entry.errorType}</${Badge}>`}${entry.durationMs ? html` <span class="faint">${ms(entry.durationMs)}</span>` : ''}</td>
          <td class="fill soft"><${Words} text=${entry.detail ?? ''} title=${entry.detail} /></td></tr>`)}</tbody></table></div>`}
      <div class="pager"><span>${lookedBackTo && entries.length > 0 ? `looked back to ${utc(lookedBackTo)}` : ''}</span>
        ${isLater && html`<button type="button" class="button" onClick=${() => client.go({cursor: null})}>Newest</button>`}
        ${next && html`<button type="button" class="button" onClick=${() => client.go({cursor: next})}>Older <${Icon} name="chevron-right" /></button>`}</div></section>`}`;
}
