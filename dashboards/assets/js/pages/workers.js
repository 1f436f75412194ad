// Workers: which processes run, where, and what does each do now?
import {Badge, Empty, html, Progress, Time, Words} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';
import {useSorted} from 'teknav/js/table.js';

const COLUMNS = {process: (worker) => worker.id, since: (worker) => worker.started_at, heartbeat: (worker) => worker.last_heartbeat_at, threads: (worker) => worker.thread_count, busy: (worker) => worker.running.length};

export default function Workers({workers, leader, problem}) {
  const [sorted, head] = useSorted(workers ?? [], COLUMNS);
  return html`<div class="head"><h1>Workers</h1><p class="grow">A process counts while it gives a sign of life at least once a minute. What a dead one held goes to another when its lease runs out.</p></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!workers && !problem && html`<div class="skeleton"></div>`}
    ${workers && html`<section class="card"><div class="body row"><b>Scheduler</b>${leader ? html`<${Badge} tone="good">leads</${Badge}><span class="soft">${leader.holder}</span><span class="faint">term ${leader.term}</span>` : html`<${Badge} tone="bad">none</${Badge}><span class="soft">Nothing moves the audit trail or measures. Start one: <code>python -m teknav_ops.runtime.scheduler</code>, or everything with <code>make up</code>.</span>`}</div></section>
      ${workers.length === 0 ? html`<section class="card"><${Empty} icon="server" title="No worker runs">Jobs wait until one does: <code>dramatiq workers -p 2 -t 8</code>, or everything with <code>make up</code>.</${Empty}></section>` : html`
      <section class="card scroll"><table class="cards" aria-label="Worker processes"><thead><tr>${head('process', 'Process')}${head('since', 'Since')}${head('heartbeat', 'Heartbeat')}${head('threads', 'Threads', true)}${head('busy', 'Busy', true)}<th scope="col">Queues</th><th scope="col">Running</th></tr></thead>
        <tbody>${sorted.map((worker) => html`<tr key=${worker.id}><td class="name"><span class=${`dot ${worker.is_alive ? '' : 'bad'}`}></span><b>${worker.host}</b> <span class="faint">pid ${worker.pid ?? '–'}</span></td>
          <td data-label="Since"><${Time} at=${worker.started_at} relative /></td><td data-label="Heartbeat">${worker.is_alive ? html`<${Time} at=${worker.last_heartbeat_at} relative />` : html`<${Badge} tone="bad">silent</${Badge}> <${Time} at=${worker.last_heartbeat_at} relative />`}</td>
          <td class="right" data-label="Threads">${count(worker.thread_count)}</td><td class="right" data-label="Busy">${count(worker.running.length)}</td>
          <td class="soft wide" title=${worker.queues.join(', ')}>${worker.queues.length > 3 ? `${worker.queues.slice(0, 2).join(', ')} and ${worker.queues.length - 2} more` : worker.queues.join(', ')}</td>
          <td class="fill">${worker.running.length === 0 ? html`<span class="faint">nothing</span>` : worker.running.slice(0, 8).map((job) => html`<div class="row" key=${job.job_id}><a href=${job.href}>${job.name}</a>${job.stuck_at && html`<${Badge} tone="bad">stuck</${Badge}>`}<span class="faint">${job.queue}, began <${Time} at=${job.started_at} relative /></span>
            ${job.progress !== null && html`<${Progress} label=${`Progress of ${job.name}`} done=${job.progress} total=${1} />`}<${Words} class="soft" text=${job.progress_note ?? ''} /></div>`)}</td></tr>`)}</tbody></table></section>`}`}`;
}
