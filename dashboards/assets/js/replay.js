// Batch replays: the frozen list before it starts, and its progress afterwards.
import {Act, Badge, Dialog, html, Progress, Time, useState, Words} from 'teknav/js/kit.js';
import {OldestOnly, useAsk, WhatMatches, Wrong} from 'teknav/js/form.js';
import {count, rateUnit, span} from 'teknav/js/format.js';

/** Two steps: what would be replayed, as a list that does not change any more; then go. */
export function StartReplay({client, queue, ids, filters, onClose}) {
  const [name, setName] = useState('');
  const [limit, setLimit] = useState('');
  const [perSecond, setPerSecond] = useState('20');
  const [preview, setPreview] = useState(null);
  const {ask, isBusy, problems} = useAsk(client, ['name', 'limit', 'rate', 'rate_per_second']);
  if (!preview) {
    return html`<${Dialog} title=${ids ? `Replay ${count(ids.length)} selected` : 'Replay what matches'} onClose=${onClose}>
      <${WhatMatches} ids=${ids} filters=${filters} before="runs" />
      <form onSubmit=${(event) => ask(event, 'preview', {limit: Number(limit) || null, name, job_ids: ids}, setPreview)}>
        <label class="stacked">Name, such as the incident's<input name="replay-name" dir="auto" maxlength="120" autocomplete="off" value=${name} onInput=${(event) => setName(event.target.value)} /><${Wrong} text=${problems.name} /></label>
        ${!ids && html`<${OldestOnly} limit=${limit} onLimit=${setLimit} problem=${problems.limit} />`}
        <div class="row end"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Preview</button></div></form></${Dialog}>`;
  }
  const start = {queue: preview.queue, replay_id: preview.id, rate: Number(perSecond) > 0 ? Number(perSecond) : null};
  return html`<${Dialog} title=${`Replay ${preview.extent} on ${preview.queue}?`} onClose=${onClose}>
    <${Causes} causes=${preview.causes} total=${preview.total} />
    ${preview.missing > 0 && html`<p class="soft">${count(preview.missing)} of the selected are no dead letters any more and are left out.</p>`}
    ${queue.effects && html`<p class="badge-line"><${Badge} tone="warn">effects</${Badge}> <span class="soft">${queue.effects}</span></p>`}
    ${preview.total === 0 ? html`<p>Nothing matches any more.</p><div class="row end"><button type="button" class="button" onClick=${onClose}>Close</button></div>` : html`
    <form onSubmit=${(event) => ask(event, 'start', start, onClose)}>
      <label class="stacked">Jobs per second (empty: as fast as they go)<input name="rate" type="number" min="0.05" step="any" value=${perSecond} onInput=${(event) => setPerSecond(event.target.value)} /><${Wrong} text=${problems.rate ?? problems.rate_per_second} /></label>
      ${Number(perSecond) > 0 && html`<p class="soft">This takes about ${span(preview.total / Number(perSecond))}. It goes on when you close this page, and can be stopped at any moment.</p>`}
      <div class="row end"><button type="button" class="button" onClick=${onClose}>Not now</button><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Replay ${count(preview.total)}</button></div></form>`}</${Dialog}>`;
}

export function Causes({causes, total, label = 'Causes in this replay'}) {
  return html`<table aria-label=${label}><tbody>${causes.map((cause) => html`<tr key=${cause.error_type + cause.fingerprint}><td><b>${cause.error_type}</b></td><td class="faint mono">${cause.fingerprint}</td>
    <td class="right">${count(cause.count)}</td><td style="width: 40%"><${Progress} label=${`Share of ${cause.error_type}`} done=${cause.count} total=${total} tone="warn" /></td></tr>`)}</tbody></table>`;
}

/** What became of the jobs that were put back; those that failed again are a click away. */
export function Outcome({replay}) {
  if (replay.state === 'previewed') return html`<span class="faint">not started</span>`;
  if (!replay.hasOutcome) return html`${count(replay.replayed)} replayed`;
  const causes = replay.againCauses.map((cause) => `${cause.error_type} ${count(cause.count)}`).join(', ');
  return html`<span class="outcome"><${Badge} tone=${replay.completed ? 'good' : ''}>${count(replay.completed)} completed</${Badge}>
    ${replay.failedAgain > 0 ? html` <a href=${replay.againHref} title=${causes}><${Badge} tone="bad">${count(replay.failedAgain)} failed again</${Badge}></a> <small class="faint">${causes}</small>` : html` <span class="faint">0 failed again</span>`}
    ${replay.unsettled > 0 && html` <${Badge} tone="info">${count(replay.unsettled)} still waiting or running</${Badge}>`}
    ${replay.cancelled > 0 && html` <${Badge}>${count(replay.cancelled)} taken out</${Badge}>`}
    ${replay.skips.length > 0 && html` <small class="faint">${count(replay.skipped)} skipped: ${replay.skips.join(', ')}</small>`}</span>`;
}

export function Running({client, replay, mayAct}) {
  return html`<section class="card"><div class="body row"><b>Replay <${Words} text=${replay.name || replay.id} /></b><span class="soft">${count(replay.done)} of ${count(replay.total)}${replay.rate ? `, ${rateUnit([replay.rate]).text(replay.rate)}` : ''}, by <${Words} text=${replay.startedBy ?? replay.operator} /></span>
    <div class="grow"><${Progress} label=${`Progress of replay ${replay.name || replay.id}`} done=${replay.done} total=${replay.total} /></div>
    <${Outcome} replay=${replay} />
    ${mayAct && replay.state === 'running' && html`<${Act} client=${client} action="abort" args=${{queue: replay.queue, replay_id: replay.id}} tone="bad">Stop</${Act}>`}</div></section>`;
}

export function ReplayState({replay}) {
  const tones = {previewed: '', running: 'info', finished: 'good', aborted: 'warn'};
  return html`<${Badge} tone=${tones[replay.state]}>${replay.state}</${Badge}>${replay.endedAt && html` <${Time} at=${replay.endedAt} relative />`}`;
}
