// JobsTable: a page of jobs in one state.
import {Act, Badge, Copy, Empty, html, Progress, Time, Words} from 'teknav/js/kit.js';
import {count, ms} from 'teknav/js/format.js';
import {openRow, TurnHeading} from 'teknav/js/table.js';

const WHEN = {waiting: 'Enqueued', active: 'Started', delayed: 'Due', completed: 'Finished', failed: 'Failed', cancelled: 'Cancelled'};
const ONE_ORDER = {waiting: 'Listed in the order in which they will run', active: 'Listed by the end of their lease'};
const NOTHING = {
  waiting: 'No job waits for a worker at the moment. Create one with “New job”, or enqueue from your code.',
  active: 'No worker runs a job of this queue at the moment.',
  delayed: 'Nothing waits for its time: no retries, no snoozes, no jobs for later.',
  completed: 'None is kept, or none matches the filter. The newest are kept here; the audit trail goes back further.',
  failed: 'None is kept, or none matches the filter.',
  cancelled: 'None that was taken out is kept, or none matches the filter.',
};

export function JobsTable({client, jobs, state, order, mayAct, queue, href}) {
  if (!jobs.length) return html`<${Empty} title=${`No ${state} jobs`}>${NOTHING[state]}</${Empty}>`;
  const label = WHEN[state];
  return html`<div class="scroll"><table class="cards" aria-label=${`${state} jobs`}><thead><tr><th scope="col">Job</th><th scope="col">Id</th>${order ? html`<${TurnHeading} client=${client} text=${label} order=${order} />` : html`<th scope="col" title=${ONE_ORDER[state]}>${label}</th>`}<th scope="col" class="right">Attempts</th>
      ${state === 'active' ? html`<th scope="col">Progress</th><th scope="col">Worker</th>` : html`<th scope="col" class="right">Waited</th><th scope="col" class="right">Took</th>`}
      <th scope="col">${state === 'failed' ? 'Error' : state === 'delayed' ? 'Error or payload' : 'Payload'}</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
    <tbody>${jobs.map((job) => html`<tr key=${job.id} tabindex="0" ...${openRow(`${href}/jobs/${job.id}`)}>
      <td class="name"><a href=${`${href}/jobs/${job.id}`}>${job.name}</a>${job.stuckAt && html` <${Badge} tone="bad">stuck</${Badge}>`}</td><td data-label="Id"><${Copy} text=${job.id} short /></td>
      <td data-label=${label}><${Time} at=${job.at} relative /></td><td class="right" data-label="Attempts" title=${job.state === 'active' ? 'the one under way included' : undefined}>${count(job.attempts)}</td>
      ${state === 'active' ? html`<td data-label="Progress">${job.progress === undefined ? html`<span class="faint">–</span>` : html`<${Progress} label=${`Progress of ${job.name}`} done=${job.progress} total=${1} />`}</td><td data-label="Worker" class="soft">${job.worker}</td>`
        : html`<td class="right" data-label="Waited">${ms(job.waitedMs)}</td><td class="right" data-label="Took">${ms(job.durationMs)}</td>`}
      <td class="fill soft"><${Words} text=${job.error ? `${job.errorType}: ${job.error}` : job.payload} title=${job.error ?? job.payload} /></td>
      <td class="acts"><div class="row">${mayAct && acts(client, queue, job)}</div></td></tr>`)}</tbody></table></div>`;
}

function acts(client, queue, job) {
  const args = {queue, job_id: job.id};
  return [
    job.state === 'delayed' && html`<${Act} key="promote" client=${client} action="promote" args=${args} icon="fast-forward" tone="small" title="Run it now" />`,
    (job.state === 'delayed' || job.state === 'waiting') && html`<${Act} key="cancel" client=${client} action="cancel" args=${args} icon="ban" tone="small bad" title="Take it out"
      confirm=${{title: 'Take this job out?', text: `${job.name} ${job.id} will not run.`, button: 'Take it out'}} />`,
    job.state === 'failed' && html`<${Act} key="retry" client=${client} action="retry" args=${args} icon="rotate-ccw" tone="small" title="Run it again" />`,
  ];
}
