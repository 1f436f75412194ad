// Reports: which notebooks were run, how did it end, and what did they say?
import {Badge, Choice, Empty, html, Pager, Time, Words} from 'teknav/js/kit.js';

const TONES = {ok: 'good', limit: 'warn', failed: 'bad', timeout: 'bad', killed: 'bad'};
const FAILED = 'failed';

export default function Reports({client, runs, names, report, problem, ...list}) {
  return html`<div class="head"><h1>Reports</h1><p class="grow">${report ? html`All runs of <b>${report}</b>, newest first.` : 'Notebooks that were run unattended: the newest run of each.'}</p>
      ${names?.length > 0 && html`<${Choice} client=${client} name="report" label="Report" value=${report} options=${[['', 'newest of each'], ...names.map((name) => [name, name])]} />`}</div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!runs && !problem && html`<div class="skeleton"></div>`}
    ${runs && html`<section class="card">${runs.length === 0 ? html`<${Empty} icon="file-chart-column" title="No report has been run yet">Run one with <code>teknav report run queue_health</code>, or let the scheduler do it: set <code>TEKNAV_REPORT_SCHEDULES</code>.</${Empty}>`
      : html`<div class="scroll"><table class="cards" aria-label="Reports"><thead><tr><th scope="col">Report</th><th scope="col">Status</th><th scope="col">Said</th><th scope="col">Run</th><th scope="col" class="right">Took</th><th scope="col">By</th><th scope="col">Told</th></tr></thead>
      <tbody>${runs.map((run) => html`<${Row} key=${run.name + run.run} client=${client} run=${run} report=${report} />`)}</tbody></table></div>`}
      <${Pager} client=${client} first=${list.first} shown=${runs.length} total=${list.total} next=${list.next} isLater=${list.isLater} /></section>`}`;
}

function Row({client, run, report}) {
  const failed = run.told.filter((to) => to.status === FAILED);
  return html`<tr>
    <td class="name">${run.href ? html`<a href=${run.href} target="_blank" rel="noopener"><${Words} as="b" text=${run.title} /></a>` : html`<${Words} as="b" text=${run.title} />`}
      <small>${run.name} ${!report && html`· <a href=${`?report=${run.name}`} onClick=${(event) => { event.preventDefault(); client.go({report: run.name, page: null}); }}>all runs</a>`}</small></td>
    <td data-label="Status"><${Badge} tone=${TONES[run.status]}>${run.words}</${Badge}></td>
    <td class="fill" data-label="Said">${run.error && html`<${Words} as="div" text=${run.error} title=${run.error} />`}<span class="soft">${run.numbers.slice(0, 5).map((number) => `${number.name}: ${number.text}`).join(' · ')}</span></td>
    <td data-label="Run"><${Time} at=${run.startedAt} relative /></td><td class="right" data-label="Took">${run.seconds.toFixed(1)} s</td>
    <td data-label="By"><${Words} text=${run.who} />${run.schedule && html` <small class="soft">${run.schedule}</small>`}</td>
    <td data-label="Told">${run.told.length === 0 ? html`<span class="faint">–</span>` : failed.length ? html`<${Badge} tone="bad" title=${failed.map((to) => `${to.channel}: ${to.words}`).join('\n')}>${failed.length} not told</${Badge}>` : html`<span title=${run.told.map((to) => to.channel).join(', ')}>${run.told.length}</span>`}</td></tr>`;
}
