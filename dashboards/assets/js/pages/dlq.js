// DlqTable: what is broken, and which jobs run again?
import {Act, Choice, Copy, Dialog, Empty, html, Icon, may, Pager, SearchField, Time, useEffect, useState, Words} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';
import {Groups} from 'teknav/js/groups.js';
import {DeleteLetters} from 'teknav/js/deletion.js';
import {NarrowOrder, TurnHeading} from 'teknav/js/table.js';
import {Running, StartReplay} from 'teknav/js/replay.js';

const SPANS = [['', 'any time'], ['15m', '15 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['1d', '1 day'], ['7d', '7 days']];

export default function Dlq({client, queue, causes, letters, filters, problem, shell, replays, ...list}) {
  const [selected, setSelected] = useState(() => new Set(client.restored.selected));
  client.keep.selected = [...selected];
  const [dialog, setDialog] = useState(null);
  const shownIds = (letters ?? []).map((letter) => letter.id);
  useEffect(() => letters && setSelected((before) => new Set([...before].filter((id) => shownIds.includes(id)))), [shownIds.join()]);
  const close = () => setDialog(null);
  const mayAct = may(shell, 'act', queue?.name), mayManage = may(shell, 'manage', queue?.name);
  const toggle = (id) => setSelected((before) => { const next = new Set(before); if (!next.delete(id)) next.add(id); return next; });
  const inspect = async (id) => { const answer = await client.ask('inspect', {job_id: id}); if (answer.ok) setDialog({kind: 'inspect', letter: answer.data}); };
  if (!letters && !problem) return html`<div class="head"><h1>Dead letters</h1></div><div class="skeleton"></div>`;
  return html`
    <div class="head"><h1>Dead letters${queue && ` of ${queue.name}`}</h1><span class="grow"></span>
      ${queue && letters && mayAct && html`<a class="button" href=${`${queue.exports}&format=csv`} download><${Icon} name="download" /> CSV</a>
        <a class="button" href=${`${queue.exports}&format=json`} download><${Icon} name="download" /> JSON</a>`}
      ${queue && letters && mayManage && html`<button type="button" class="button bad" disabled=${!causes?.total} onClick=${() => setDialog({kind: 'purge'})}><${Icon} name="trash-2" /> Purge</button>`}</div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${replays?.map((replay) => html`<${Running} key=${replay.id} client=${client} replay=${replay} mayAct=${mayAct} />`)}
    ${causes && html`<${Groups} causes=${causes} chosen=${filters.fingerprint} />`}
    ${letters && (causes.total > 0 || list.isFiltered) && html`<section class="card">
      <div class="title filters">
        <${Choice} client=${client} name="type" label="Error" value=${filters.type} options=${[['', 'all'], ...[...new Set([...causes.types, ...(filters.type ? [filters.type] : [])])].map((name) => [name, name])]} />
        ${queue.jobNames.length > 1 && html`<${Choice} client=${client} name="name" label="Job" value=${filters.name} options=${[['', 'all'], ...queue.jobNames.map((name) => [name, name])]} />`}
        <${Choice} client=${client} name="since" label="Failed since" value=${filters.since} options=${SPANS} />
        ${shell.maySearch && html`<${SearchField} client=${client} name="text" placeholder="In error or payload" value=${filters.text} />`}
        ${filters.fingerprint && html`<button type="button" class="button small" onClick=${() => client.go({fingerprint: null, page: null})}>cause ${filters.fingerprint} <${Icon} name="x" size=${12} /></button>`}
        ${filters.replay && html`<button type="button" class="button small" onClick=${() => client.go({replay: null, page: null})}>failed again after replay ${filters.replay} <${Icon} name="x" size=${12} /></button>`}
        ${list.isFiltered && html`<button type="button" class="button small" onClick=${() => client.go({type: null, name: null, since: null, until: null, text: null, fingerprint: null, replay: null, page: null})}>Clear</button>`}
        <${NarrowOrder} client=${client} order=${list.order} /><div class="row">
        ${mayAct && html`<button type="button" class="button main" disabled=${!letters.length} onClick=${() => setDialog({kind: 'replay', ids: null})}><${Icon} name="rotate-ccw" /> Replay ${list.isFiltered ? 'all that match' : 'all'} …</button>`}
        ${mayManage && html`<button type="button" class="button bad" disabled=${!letters.length} onClick=${() => setDialog({kind: 'delete', ids: null})}><${Icon} name="trash-2" /> Delete ${list.isFiltered ? 'all that match' : 'all'} …</button>`}</div></div>
      ${letters.length === 0 ? html`<${Empty} title="Nothing matches">No dead letter matches these filters${list.note ? ` (${list.note})` : ''}.</${Empty}>` : html`<${Letters} ...${{client, letters, order: list.order, selected, setSelected, toggle, inspect, mayAct, mayManage}} />`}
      <${Pager} client=${client} first=${list.first} shown=${letters.length} total=${list.total} next=${list.next} isLater=${list.isLater} note=${list.note} /></section>`}
    ${selected.size > 0 && html`<div class="bar" role="toolbar" aria-label="Selected"><b>${count(selected.size)} selected</b>
      <button type="button" class="button main" onClick=${() => setDialog({kind: 'replay', ids: [...selected]})}><${Icon} name="rotate-ccw" /> Replay selected …</button>
      ${mayManage && html`<button type="button" class="button bad" onClick=${() => setDialog({kind: 'delete', ids: [...selected]})}><${Icon} name="trash-2" /> Delete selected …</button>`}
      <button type="button" class="button" onClick=${() => setSelected(new Set())}>None</button></div>`}
    ${dialog?.kind === 'inspect' && html`<${Inspect} client=${client} letter=${dialog.letter} ...${{mayAct, mayManage}} onClose=${close} />`}
    ${dialog?.kind === 'purge' && html`<${Purge} client=${client} queue=${queue.name} total=${causes.total} onClose=${close} />`}
    ${dialog?.kind === 'delete' && html`<${DeleteLetters} client=${client} queue=${queue} ids=${dialog.ids} filters=${filters} onClose=${() => { close(); setSelected(new Set()); }} />`}
    ${dialog?.kind === 'replay' && html`<${StartReplay} client=${client} queue=${queue} ids=${dialog.ids} filters=${filters} onClose=${() => { close(); setSelected(new Set()); }} />`}`;
}

function Letters({client, letters, order, selected, setSelected, toggle, inspect, mayAct, mayManage}) {
  const isAll = letters.every((letter) => selected.has(letter.id));
  return html`<div class="scroll"><table class="cards" aria-label="Dead letters"><thead><tr>
      ${mayAct && html`<th scope="col"><input type="checkbox" aria-label="Select all on this page" checked=${isAll} onChange=${() => setSelected(isAll ? new Set() : new Set(letters.map((letter) => letter.id)))} /></th>`}
      <th scope="col">Error</th><th scope="col">Job</th><th scope="col">Id</th><${TurnHeading} client=${client} text="Failed" order=${order} /><th scope="col" class="right">Attempts</th><th scope="col">Message</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
    <tbody>${letters.map((letter) => html`<tr key=${letter.id} tabindex="0" aria-selected=${selected.has(letter.id)} style="cursor: pointer"
        onClick=${(event) => { if (!event.composedPath().some((node) => /^(A|BUTTON|INPUT)$/.test(node.tagName ?? ''))) inspect(letter.id); }}
        onKeyDown=${(event) => { if (event.target.tagName !== 'TR') return; if (event.key === 'x' && mayAct) toggle(letter.id); if (event.key === 'Enter') inspect(letter.id); }}>
      ${mayAct && html`<td><input type="checkbox" aria-label=${`Select ${letter.id}`} checked=${selected.has(letter.id)} onChange=${() => toggle(letter.id)} /></td>`}
      <td class="name"><b>${letter.errorType}</b></td><td data-label="Job">${letter.name}</td><td data-label="Id"><${Copy} text=${letter.id} short /></td>
      <td data-label="Failed"><${Time} at=${letter.failedAt} relative /></td><td class="right" data-label="Attempts">${count(letter.attempts)}</td>
      <td class="fill soft"><${Words} text=${letter.error} title=${letter.error} /></td>
      <td class="acts"><div class="row"><button type="button" class="button small" title="Inspect" onClick=${() => inspect(letter.id)}><${Icon} name="eye" /></button>
        ${mayAct && html`<${Act} client=${client} action="replay" args=${{job_id: letter.id}} icon="rotate-ccw" tone="small" title="Replay" />`}
        ${mayManage && html`<${Act} client=${client} action="delete" args=${{job_id: letter.id}} icon="trash-2" tone="small bad" title="Delete" confirm=${{title: 'Delete this dead letter?', text: `${letter.name} ${letter.id} will not run again. The audit trail keeps what happened.`, button: 'Delete'}} />`}</div></td></tr>`)}</tbody></table></div>`;
}

function Inspect({client, letter, mayAct, mayManage, onClose}) {
  const [payload, setPayload] = useState(null);
  const [problems, setProblems] = useState({});
  const [isBusy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    const answer = payload === null ? await client.ask('replay', {job_id: letter.id}) : await client.ask('replay_edited', {job_id: letter.id, payload});
    setBusy(false);
    setProblems(answer.data?.problems ?? {});
    if (answer.ok && !answer.data?.problems) onClose();
  };
  return html`<${Dialog} wide title=${`${letter.errorType} · ${letter.name}`} onClose=${onClose}>
    <dl class="facts"><dt>Job</dt><dd><a href=${letter.href}>${letter.id}</a></dd><dt>Failed</dt><dd><${Time} at=${letter.failedAt} /> after ${letter.attempts} ${letter.attempts === 1 ? 'attempt' : 'attempts'}</dd>
      ${letter.traceId && html`<dt>Trace</dt><dd><${Copy} text=${letter.traceId} /></dd>`}<dt>Runbook</dt><dd><a href=${letter.runbook}>what this means and how it is fixed</a></dd></dl>
    <${Words} as="pre" text=${letter.error} />
    <details><summary>Stack trace</summary><${Words} as="pre" text=${letter.stack} /></details>
    <form onSubmit=${send}>${payload === null ? html`<${Words} as="pre" text=${letter.payload} />` : html`<label class="stacked">Payload; the old one is kept in the audit trail, and •••• keeps the secret it stands for
        <textarea name="payload" dir="auto" rows="12" value=${payload} onInput=${(event) => setPayload(event.target.value)}></textarea></label>`}
      ${Object.entries(problems).map(([field, text]) => html`<p class="problem" role="alert" key=${field} style="color: var(--bad)"><b>${field}</b>: ${text}</p>`)}
      <div class="row end">${mayManage && payload === null && html`<button type="button" class="button" onClick=${() => setPayload(letter.payload)}><${Icon} name="pencil" /> Edit payload</button>`}
        <button type="button" class="button" onClick=${onClose}>Close</button>
        ${mayAct && html`<button class="button main" disabled=${isBusy} aria-busy=${isBusy}><${Icon} name="rotate-ccw" /> ${payload === null ? 'Replay' : 'Replay with this payload'}</button>`}</div></form></${Dialog}>`;
}

function Purge({client, queue, total, onClose}) {
  const [typed, setTyped] = useState('');
  const [isBusy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    if (isBusy || typed !== queue) return;
    setBusy(true);
    const answer = await client.ask('purge', {confirmation: typed});
    setBusy(false);
    if (answer.ok) onClose();
  };
  return html`<${Dialog} title="Purge all dead letters?" onClose=${onClose}><p>All ${count(total)} dead letters of <b>${queue}</b> are deleted, also those that no filter shows. Their jobs will not run. This cannot be undone; the audit trail keeps what happened to each.</p>
    <form onSubmit=${send}><label class="stacked">Type <b>${queue}</b> to go on<input name="confirmation" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>
    <div class="row end"><button type="button" class="button" onClick=${onClose}>Keep them</button><button class="button bad" disabled=${typed !== queue || isBusy} aria-busy=${isBusy}>Purge ${count(total)}</button></div></form></${Dialog}>`;
}
