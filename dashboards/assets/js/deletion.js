// Batch deletions: the frozen list and the reason before it is deleted.
import {Dialog, html, useState} from 'teknav/js/kit.js';
import {OldestOnly, useAsk, WhatMatches, Wrong} from 'teknav/js/form.js';
import {Causes} from 'teknav/js/replay.js';
import {count} from 'teknav/js/format.js';

/** Two steps: what would be deleted, as a list that does not change any more; then why, and go. */
export function DeleteLetters({client, queue, ids, filters, onClose}) {
  const [limit, setLimit] = useState('');
  const [reason, setReason] = useState('');
  const [preview, setPreview] = useState(null);
  const {ask, isBusy, problems} = useAsk(client, ['limit', 'reason']);
  const cancel = html`<button type="button" class="button" onClick=${onClose}>Keep them</button>`;
  if (!preview) {
    return html`<${Dialog} title=${ids ? `Delete ${count(ids.length)} selected dead letter${ids.length === 1 ? '' : 's'}` : 'Delete the dead letters that match'} onClose=${onClose}>
      <${WhatMatches} ids=${ids} filters=${filters} before="is deleted" />
      <form onSubmit=${(event) => ask(event, 'preview_deletion', {limit: Number(limit) || null, job_ids: ids}, setPreview)}>
        ${!ids && html`<${OldestOnly} limit=${limit} onLimit=${setLimit} problem=${problems.limit} />`}
        <div class="row end">${cancel}<button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Preview</button></div></form></${Dialog}>`;
  }
  return html`<${Dialog} title=${`Delete ${preview.extent} on ${queue.name}?`} onClose=${onClose}>
    <${Causes} causes=${preview.causes} total=${preview.total} label="Causes in this deletion" />
    ${preview.missing > 0 && html`<p class="soft">${count(preview.missing)} of the selected are no dead letters any more and are left out.</p>`}
    ${preview.total === 0 ? html`<p>Nothing matches any more.</p><div class="row end"><button type="button" class="button" onClick=${onClose}>Close</button></div>` : html`
    <p>Their jobs will not run. This cannot be undone; the audit trail keeps what happened to each.</p>
    <form onSubmit=${(event) => ask(event, 'delete_listed', {deletion_id: preview.id, reason}, onClose)}>
      <label class="stacked">Why<input name="reason" dir="auto" required autofocus maxlength="300" autocomplete="off" value=${reason} onInput=${(event) => setReason(event.target.value)} /><${Wrong} text=${problems.reason} /></label>
      <div class="row end">${cancel}<button class="button bad" disabled=${isBusy || !reason.trim()} aria-busy=${isBusy}>Delete ${count(preview.total)}</button></div></form>`}</${Dialog}>`;
}
