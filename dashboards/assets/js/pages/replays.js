// Batch replays: what was run again, by whom, and what came of it?
import {Act, Choice, Empty, html, may, Pager, Progress, Time, Words} from 'teknav/js/kit.js';
import {count, rateUnit} from 'teknav/js/format.js';
import {Outcome, ReplayState} from 'teknav/js/replay.js';

export default function Replays({client, replays, queues, queue, problem, shell, ...list}) {
  const unit = rateUnit((replays ?? []).map((replay) => replay.rate));
  return html`<div class="head"><h1>Replays</h1><p class="grow">Batches of dead letters that were run again, or are about to be.</p>
      ${queues && html`<${Choice} client=${client} name="queue" label="Queue" value=${queue} options=${[['', 'all'], ...queues.map((name) => [name, name])]} />`}</div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!replays && !problem && html`<div class="skeleton"></div>`}
    ${replays && html`<section class="card">${replays.length === 0 ? html`<${Empty} icon="rotate-ccw" title="No batch was replayed yet">Open a queue's dead letters, filter them, and choose “Replay all that match”. You see the frozen list before anything runs.</${Empty}>`
      : html`<div class="scroll"><table class="cards whole" aria-label="Replays"><thead><tr><th scope="col">Name</th><th scope="col">Queue</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col" class="right">Replayed</th><th scope="col">What became of them</th><th scope="col" class="right">Rate/${unit.name}</th><th scope="col">By</th><th scope="col">Made</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${replays.map((replay) => html`<tr key=${replay.id}>
        <td class="name"><${Words} as="b" text=${replay.name || replay.id} /><small>${replay.causes.slice(0, 3).map((cause) => `${cause.error_type} ${count(cause.count)}`).join(', ')}</small></td>
        <td data-label="Queue"><a href=${replay.href}>${replay.queue}</a></td><td data-label="State"><${ReplayState} replay=${replay} /></td>
        <td data-label="Progress"><${Progress} label=${`Progress of replay ${replay.name || replay.id}`} done=${replay.done} total=${replay.total} tone=${replay.state === 'aborted' ? 'warn' : ''} /></td><td class="right" data-label="Replayed">${count(replay.replayed)} of ${count(replay.total)}</td>
        <td class="fill told" data-label="What became of them"><${Outcome} replay=${replay} /></td><td class="right" data-label=${`Rate per ${unit.name}`}>${replay.rate ? unit.read(replay.rate) : 'full'}</td><td data-label="By"><${Words} text=${replay.startedBy ?? replay.operator} /></td><td data-label="Made"><${Time} at=${replay.createdAt} relative /></td>
        <td class="acts"><div class="row">${may(shell, 'act', replay.queue) && replay.state === 'previewed' && replay.total > 0 && html`<${Act} client=${client} action="start" args=${{queue: replay.queue, replay_id: replay.id, rate: null}} tone="small" confirm=${{title: `Replay ${replay.extent}?`, text: replay.effects, button: 'Replay'}}>Start</${Act}>`}
          ${may(shell, 'act', replay.queue) && replay.state === 'running' && html`<${Act} client=${client} action="abort" args=${{queue: replay.queue, replay_id: replay.id}} tone="small bad">Stop</${Act}>`}
          ${may(shell, 'act', replay.queue) && replay.failedAgain > 0 && html`<a class="button small" href=${replay.againHref}>Replay what failed again …</a>`}</div></td></tr>`)}</tbody></table></div>`}
      <${Pager} client=${client} first=${list.first} shown=${replays.length} total=${list.total} next=${list.next} isLater=${list.isLater} /></section>`}`;
}
