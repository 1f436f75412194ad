// Dead letters by cause: what is broken, how often, since when.
import {Badge, Empty, html, Time, Words} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';
import {openRow} from 'teknav/js/table.js';

export function Groups({groups, href, chosen}) {
  if (!groups) return html`<div class="skeleton"></div>`;
  if (!groups.length) return html`<section class="card"><${Empty} icon="check" title="No dead letters">Nothing waits to be decided. A job comes here when its attempts are used up or its error is permanent.</${Empty}></section>`;
  return html`<section class="card scroll"><table class="cards" aria-label="Causes"><thead><tr><th>Cause</th><th class="right">Count</th><th>First</th><th>Last</th><th>Newest error</th></tr></thead>
    <tbody>${groups.map((group) => {
      const link = `${href}?type=${encodeURIComponent(group.errorType)}&fingerprint=${encodeURIComponent(group.fingerprint)}`;
      return html`<tr key=${group.errorType + group.fingerprint} tabindex="0" aria-selected=${chosen === group.fingerprint} ...${openRow(link)}>
        <td class="name"><a href=${link}>${group.errorType}</a> <a class="faint" href=${group.runbook} title="Runbook">runbook</a></td><td class="right" data-label="Count"><${Badge} tone="bad">${count(group.count)}</${Badge}></td>
        <td data-label="First"><${Time} at=${group.first} relative /></td><td data-label="Last"><${Time} at=${group.last} relative /></td>
        <td class="fill soft"><${Words} text=${group.example} title=${group.example} /></td></tr>`;
    })}</tbody></table></section>`;
}
