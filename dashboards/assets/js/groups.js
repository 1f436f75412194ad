// Dead letters by cause: what is broken, how often, since when.
import {Badge, Empty, html, Time, Words} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';
import {openRow, useSorted} from 'teknav/js/table.js';

const COLUMNS = {queue: (group) => group.queue, cause: (group) => group.errorType, count: (group) => group.count, first: (group) => group.first, last: (group) => group.last};

/** Of one queue, or of all. */
export function Groups({causes, chosen, hasQueues}) {
  const [sorted, head] = useSorted(causes?.rows ?? [], COLUMNS);
  if (!causes) return html`<div class="skeleton"></div>`;
  if (!causes.rows.length) return html`<section class="card"><${Empty} icon="check" title="No dead letters">Nothing waits to be decided. A job comes here when its attempts are used up or its error is permanent.</${Empty}></section>`;
  return html`<section class="card scroll"><table class="cards" aria-label="Causes"><thead><tr>${hasQueues && head('queue', 'Queue')}${head('cause', 'Cause')}${head('count', 'Count', true)}${head('first', 'First')}${head('last', 'Last')}<th scope="col">Newest error</th></tr></thead>
    <tbody>${sorted.map((group) => {
      const link = `${group.href}?type=${encodeURIComponent(group.errorType)}&fingerprint=${encodeURIComponent(group.fingerprint)}`;
      return html`<tr key=${`${group.queue} ${group.errorType} ${group.fingerprint}`} tabindex="0" aria-selected=${chosen === group.fingerprint} ...${openRow(link)}>
        ${hasQueues && html`<td data-label="Queue"><a href=${group.href}>${group.queue}</a></td>`}<td class="name"><a href=${link}>${group.errorType}</a> <a class="faint" href=${group.runbook} title="Runbook">runbook</a></td><td class="right" data-label="Count"><${Badge} tone="bad">${count(group.count)}</${Badge}></td>
        <td data-label="First"><${Time} at=${group.first} relative /></td><td data-label="Last"><${Time} at=${group.last} relative /></td>
        <td class="fill soft"><${Words} text=${group.example} title=${group.example} /></td></tr>`;
    })}</tbody></table>
    ${causes.rarer.causes > 0 && html`<p class="body soft">${count(causes.rarer.causes)} rarer causes with ${count(causes.rarer.letters)} dead letters are not in this table; the filters of their queue find them.</p>`}</section>`;
}
