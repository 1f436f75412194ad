// JobDetail: what was asked, what happened, and what can be done?
import {Act, Badge, Copy, Empty, html, may, Progress, Time, Words} from 'teknav/js/kit.js';
import {count, ms} from 'teknav/js/format.js';

const TONES = {'job.completed': 'good', 'job.failed': 'bad', 'dlq.added': 'bad', 'job.lost': 'bad', 'job.stuck': 'bad', 'job.retried': 'warn', 'job.snoozed': 'warn', 'job.enqueued': 'info', 'job.started': 'info', 'job.replayed': 'info', 'dlq.replayed': 'info', 'job.run_again': 'info'};

const OUTCOMES = {delivered: 'good', failed: 'bad', refused: 'bad', blocked: 'bad', throttled: 'warn', disabled: ''};

export default function Job({client, job, deliveries, story, id, queue, again, effects, problem, shell}) {
  if (problem) return html`<div class="head"><h1>Job</h1></div><${Empty} icon="circle-alert" title="This job is not known">${problem}</${Empty}>`;
  if (!story) return html`<div class="head"><h1>Job</h1></div><div class="skeleton"></div>`;
  const args = {queue: queue.name, job_id: id};
  const isSaidBelow = job?.attempts[0]?.error === job?.error;
  return html`
    <div class="head"><h1>${job?.name ?? 'Job'}</h1>${job && html`<span class=${`state ${job.state}`}>${job.state}</span>${job.stuck_at && html` <${Badge} tone="bad">stuck</${Badge}>`}`}<span class="grow"><${Copy} text=${id} /></span>
      ${job && html`<a class="button" href=${`/api/owner/queues/${queue.name}/jobs/${id}/export`} download>Export</a>`}
      ${job && may(shell, 'act', queue.name) && html`${job.state === 'failed' && html`<a class="button" href=${job.dlqHref}>Dead letters</a><${Act} client=${client} action="retry" args=${args} icon="rotate-ccw" tone="main">Retry</${Act}>`}
        ${(job.state === 'completed' || job.state === 'cancelled') && html`<${Act} client=${client} action="run_again" args=${args} icon="rotate-ccw"
          confirm=${{title: 'Run this job again?', text: `A new job with the same payload is made. ${effects ? `What a second run may do twice: ${effects}` : ''}`, button: 'Run again'}}>Run again</${Act}>`}
        ${job.state === 'delayed' && html`<${Act} client=${client} action="promote" args=${args} icon="fast-forward">Run now</${Act}>`}
        ${(job.state === 'waiting' || job.state === 'delayed') && html`<${Act} client=${client} action="cancel" args=${args} icon="ban" tone="bad" confirm=${{title: 'Take this job out?', text: `${job.name} ${id} will not run.`, button: 'Take it out'}}>Cancel</${Act}>`}`}</div>
    ${!job && html`<div class="banner warn">The record of this job is not kept any more; below is what the audit trail says of it.</div>`}
    ${job?.progress !== null && job?.state === 'active' && html`<section class="card"><div class="body row"><div class="grow"><${Progress} label="Progress of this job" done=${job.progress} total=${1} /></div><b>${Math.round(job.progress * 100)} %</b><${Words} text=${job.progress_note} /></div></section>`}
    <div class="columns">
      ${job && html`<section class="card"><div class="title"><h2>Facts</h2></div><div class="body"><${Facts} job=${job} queue=${queue} again=${again} /></div></section>`}
      <section class="card"><div class="title"><h2>What happened</h2></div><div class="body"><${Story} story=${story} /></div></section>
    </div>
    ${job?.error && !isSaidBelow && html`<section class="card"><div class="title"><h2>${job.error_type}</h2><a href=${job.runbook}>Runbook</a></div><div class="body"><${Words} as="pre" text=${job.error} /></div></section>`}
    ${job?.attempts.length > 0 && html`<section class="card"><div class="title"><h2>Attempts without success</h2>${isSaidBelow && job.runbook && html`<a href=${job.runbook}>Runbook</a>`}</div><div class="body">${job.attempts.map((attempt) => html`
      <details key=${attempt.delivery} open=${attempt === job.attempts[0]}><summary><b>Attempt ${attempt.attempt}</b>${job.replay_count > 0 && html` <span class="faint">run ${attempt.delivery} of the job</span>`} <${Badge} tone="bad">${attempt.error_type}</${Badge}> <${Time} at=${attempt.started_at} /> <span class="soft">${ms(attempt.duration_ms)} on ${attempt.worker}</span></summary>
        <${Words} as="p" text=${attempt.error} /><${Words} as="pre" text=${attempt.stack} /></details>`)}</div></section>`}
    ${deliveries.length > 0 && html`<section class="card"><div class="title"><h2>What the receiver answered</h2></div><div class="body">${deliveries.map((sent, at) => html`
      <details key=${sent.at} open=${at === 0}><summary><b>Attempt ${sent.attempt}</b> <${Badge} tone=${OUTCOMES[sent.outcome] ?? ''}>${sent.outcome}</${Badge}> <b>${sent.status_code ?? 'no answer'}</b> <${Time} at=${sent.at} /> <span class="soft">${sent.duration_ms === null ? '' : ms(sent.duration_ms)} ${sent.host ?? ''}</span></summary>
        ${sent.error && html`<${Words} as="p" text=${sent.error} />`}${sent.answer ? html`<${Words} as="pre" text=${sent.answer} />` : html`<p class="faint">It said nothing.</p>`}</details>`)}</div></section>`}
    ${job && html`<div class="columns"><section class="card"><div class="title"><h2>Payload</h2></div><div class="body"><${Words} as="pre" text=${job.payload} /></div></section>
      ${job.result && html`<section class="card"><div class="title"><h2>Result</h2></div><div class="body"><${Words} as="pre" text=${job.result} /></div></section>`}</div>`}`;
}

function Facts({job, queue, again}) {
  const links = (runs) => html`${runs.map((run) => html`<a key=${run.id} href=${run.href}>${run.id}</a> `)}`;
  const rows = [
    ['Queue', html`<a href=${queue.href}>${queue.name}</a>`], ['Enqueued', html`<${Time} at=${job.enqueued_at} />`],
    job.due_at && ['Due', html`<${Time} at=${job.due_at} /> <span class="faint"><${Time} at=${job.due_at} relative /></span>`],
    job.started_at && ['Started', html`<${Time} at=${job.started_at} />`], job.finished_at && ['Ended', html`<${Time} at=${job.finished_at} />`],
    job.waited_ms !== null && ['Waited', ms(job.waited_ms)], job.duration_ms !== null && ['Took', ms(job.duration_ms)],
    ['Attempts', attempts(job)],
    again.of.length > 0 && ['Runs again', links(again.of)], again.as.length > 0 && ['Run again as', links(again.as)],
    job.worker && ['Worker', job.worker], job.priority !== 0 && ['Priority', job.priority],
    job.idempotency_key && ['Idempotency key', html`<${Copy} text=${job.idempotency_key} />`],
    job.trace_id && ['Trace', html`<${Copy} text=${job.trace_id} /> <a href=${`/dashboard/owner/audit?trace=${job.trace_id}`}>all of this trace</a>`],
  ].filter(Boolean);
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** Attempts since the last replay, and what went before it. */
function attempts(job) {
  const parts = [job.state === 'active' ? `${count(job.attempts_made + 1)}, the last one under way` : count(job.attempts_made)];
  if (job.replay_count) parts.push(`replayed ${job.replay_count === 1 ? 'once' : `${count(job.replay_count)} times`}, ${count(job.delivery)} ${job.delivery === 1 ? 'run' : 'runs'} in all`);
  if (job.lost_count) parts.push(job.lost_count === 1 ? 'one worker died' : `${count(job.lost_count)} workers died`);
  return parts.join('; ');
}

/** Whether an entry's detail was not said by the one before: a failure and its dead letter quote the same error. */
function isNew(story, at) {
  return at === 0 || story[at - 1].detail !== story[at].detail;
}

function Story({story}) {
  if (!story.length) return html`<p class="soft">The audit trail has nothing of this job yet.</p>`;
  return html`<ol class="timeline">${story.map((entry, at) => html`<li key=${at}><${Time} at=${entry.at} /><span class=${`dot ${TONES[entry.action] ?? ''}`}></span>
    <div><b>${entry.action}</b>${entry.attempt ? html` <span class="faint">attempt ${entry.attempt}</span>` : ''}${entry.durationMs ? html` <span class="soft">${ms(entry.durationMs)}</span>` : ''}${entry.waitedMs ? html` <span class="faint">after ${ms(entry.waitedMs)} of waiting</span>` : ''}
      ${entry.errorType && html` <${Badge} tone="bad">${entry.errorType}</${Badge}>`}${entry.outcome && entry.outcome !== 'done' && html` <${Badge} tone="warn">${entry.outcome}</${Badge}>`}
      <div class="faint"><${Words} text=${entry.actor} /></div>${entry.detail && isNew(story, at) && html`<${Words} as="div" class="soft" text=${entry.detail} />`}</div></li>`)}</ol>`;
}
