// Who may do what: users and tokens, with their roles, queues and limits.
import {Badge, Empty, html, Time, Words} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';

const ALL = (queues) => (queues.includes('*') ? 'all' : queues.join(', '));

export default function Access({users, tokens, problem}) {
  return html`<div class="head"><h1>Users and tokens</h1><p class="grow">Changed with <code>teknav users</code> and <code>teknav tokens</code>.</p></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!users && !problem && html`<div class="skeleton"></div>`}
    ${users && html`<section class="card"><div class="title"><h2>Users</h2></div><${Users} users=${users} /></section>
      <section class="card"><div class="title"><h2>Tokens</h2></div>${tokens.length === 0 ? html`<${Empty} title="No tokens">Create one: teknav tokens create NAME --scope read</${Empty}>` : html`<${Tokens} tokens=${tokens} />`}</section>`}`;
}

function Users({users}) {
  return html`<div class="scroll"><table class="cards" aria-label="Users"><thead><tr><th>Name</th><th>Role</th><th>Acts on</th><th>State</th><th>Signed in</th><th>Added by</th></tr></thead>
    <tbody>${users.map((user) => html`<tr key=${user.name}><td class="name"><a href=${`/dashboard/owner/account?user=${encodeURIComponent(user.name)}`}><${Words} text=${user.name} /></a></td>
      <td data-label="Role">${user.role}</td><td data-label="Acts on">${user.role === 'VIEWER' ? 'none' : ALL(user.queues)}</td>
      <td data-label="State">${user.disabled_at ? html`<${Badge} tone="bad">disabled</${Badge}>` : 'enabled'}</td><td data-label="Signed in"><${Time} at=${user.signed_in_at} relative /></td>
      <td data-label="Added by"><${Words} text=${user.created_by} /></td></tr>`)}</tbody></table></div>`;
}

function Tokens({tokens}) {
  return html`<div class="scroll"><table class="cards" aria-label="Tokens"><thead><tr><th>Name</th><th>Role</th><th>Scopes</th><th>Queues</th><th class="right">Jobs a minute</th><th class="right">Up to a backlog of</th><th>State</th><th>Last used</th><th>Expires</th><th>Owner</th></tr></thead>
    <tbody>${tokens.map((token) => html`<tr key=${token.beginning}><td class="name"><b>${token.name}</b><small class="mono">${token.beginning}…</small></td><td data-label="Role">${token.role}</td>
      <td data-label="Scopes">${token.scopes.join(', ')}</td><td data-label="Queues">${ALL(token.queues)}</td>
      <td class="right" data-label="Jobs a minute">${token.jobs_per_minute === null ? 'no limit' : count(token.jobs_per_minute)}</td><td class="right" data-label="Up to a backlog of">${token.backlog_limit === null ? 'no limit' : count(token.backlog_limit)}</td>
      <td data-label="State"><${Badge} tone=${token.state === 'live' ? 'good' : ''}>${token.state}</${Badge}></td><td data-label="Last used"><${Time} at=${token.last_used_at} relative /></td>
      <td data-label="Expires">${token.expires_at ? html`<${Time} at=${token.expires_at} />` : 'never'}</td><td data-label="Owner"><${Words} text=${token.owner ?? `none (made by ${token.created_by})`} /></td></tr>`)}</tbody></table></div>`;
}
