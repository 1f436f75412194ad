// Who may do what: users and tokens, with their roles, queues and limits.
import {Act, Badge, Copy, Dialog, Empty, html, Time, useState, Words} from 'teknav/js/kit.js';
import {useAsk, Wrong} from 'teknav/js/form.js';
import {count} from 'teknav/js/format.js';

const ALL = (queues) => (queues.includes('*') ? 'all' : queues.join(', '));
/** What was typed as a list; null where nothing was. */
const listed = (text) => (text.trim() ? text.trim().split(/[\s,]+/) : null);
/** What the page does not list, and where it is. */
const more = (number, command) => number > 0 && html`<p class="soft">and ${count(number)} more: <code>${command}</code></p>`;
const whole = (text) => (text === '' ? null : Number(text));

export default function Access({client, users, moreUsers, tokens, moreTokens, own, roles, scopes, viewersAllowed, problem}) {
  const [isAdding, setAdding] = useState(false);
  const [isCreating, setCreating] = useState(false);
  const [changed, setChanged] = useState(null);
  return html`<div class="head"><h1>Users and tokens</h1><p class="grow">Who may enter, as people and as programs. Each change is in the audit trail.</p></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!users && !problem && html`<div class="skeleton"></div>`}
    ${users && html`<section class="card"><div class="title"><h2 class="grow">Users</h2><button type="button" class="button" onClick=${() => setAdding(true)}>Add user</button></div>
        <${Users} client=${client} users=${users} own=${own} onChange=${setChanged} />${more(moreUsers, 'teknav users list')}</section>
      <section class="card"><div class="title"><h2 class="grow">Tokens</h2><button type="button" class="button" onClick=${() => setCreating(true)}>Create token</button></div>
        ${tokens.length === 0 ? html`<${Empty} title="No tokens">A program needs one to use the API.</${Empty}>` : html`<${Tokens} client=${client} tokens=${tokens} />`}${more(moreTokens, 'teknav tokens list')}</section>
      ${isAdding && html`<${AddUser} client=${client} roles=${roles} viewersAllowed=${viewersAllowed} onClose=${() => setAdding(false)} />`}
      ${changed && html`<${ChangeUser} client=${client} user=${changed} roles=${roles} viewersAllowed=${viewersAllowed} onClose=${() => setChanged(null)} />`}
      ${isCreating && html`<${CreateToken} client=${client} roles=${roles} scopes=${scopes} onClose=${() => setCreating(false)} />`}`}`;
}

function Users({client, users, own, onChange}) {
  return html`<div class="scroll"><table class="cards" aria-label="Users"><thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Acts on</th><th scope="col">State</th><th scope="col">Signed in</th><th scope="col">Added by</th><th scope="col"><span class="hidden">Change</span></th></tr></thead>
    <tbody>${users.map((user) => html`<tr key=${user.name}><td class="name"><a href=${`/dashboard/owner/account?user=${encodeURIComponent(user.name)}`}><${Words} text=${user.name} /></a></td>
      <td data-label="Role">${user.role}</td><td data-label="Acts on">${user.role === 'VIEWER' ? 'none' : ALL(user.queues)}</td>
      <td data-label="State">${user.disabled_at ? html`<${Badge} tone="bad">disabled</${Badge}>` : 'enabled'}</td><td data-label="Signed in"><${Time} at=${user.signed_in_at} relative /></td>
      <td data-label="Added by"><${Words} text=${user.created_by} /></td>
      <td class="acts"><div class="row">${user.name !== own && html`<button type="button" class="button" aria-label=${`Change ${user.name}`} onClick=${() => onChange(user)}>Change</button>`}
        ${user.disabled_at ? html` <${Act} client=${client} action="enable_user" args=${{user: user.name}}>Enable</${Act}>`
          : user.name !== own && html` <${Act} client=${client} action="disable_user" args=${{user: user.name}} tone="bad"
            confirm=${{title: `Disable ${user.name}?`, text: 'They are signed out everywhere, and their tokens are revoked.', button: 'Disable'}}>Disable</${Act}>`}
        ${user.name !== own && html` <${Act} client=${client} action="remove_user" args=${{user: user.name}} tone="bad"
          confirm=${{title: `Remove ${user.name}?`, text: 'They are signed out everywhere, and their tokens are revoked. What they did stays in the audit trail.', button: 'Remove', type: user.name}}>Remove</${Act}>`}</div></td></tr>`)}</tbody></table></div>`;
}

function Field({label, name, values, onChange, problem, ...rest}) {
  return html`<label class="stacked">${label}<input name=${name} dir="auto" autocomplete="off" ...${rest} value=${values[name]} aria-invalid=${Boolean(problem)}
    onInput=${(event) => onChange({...values, [name]: event.target.value})} /><${Wrong} text=${problem} /></label>`;
}

/** A role, and the queues of an OPERATOR. */
function RoleFields({values, onChange, roles, viewersAllowed, problems}) {
  return html`<label class="stacked">Role<select name="role" value=${values.role} onChange=${(event) => onChange({...values, role: event.target.value})}>
      ${roles.map((role) => html`<option key=${role} value=${role}>${role}</option>`)}</select><${Wrong} text=${problems.role} /></label>
    ${values.role === 'OPERATOR' && html`<${Field} label="Only these queues, such as webhooks:* (empty: all)" name="queues" values=${values} onChange=${onChange} problem=${problems.queues} />`}
    ${values.role === 'VIEWER' && viewersAllowed === false && html`<p class="soft">VIEWERs are not let in at present: set TEKNAV_VIEWERS_ALLOWED=true.</p>`}`;
}

function queuesOf(values) {
  return values.role === 'OPERATOR' ? listed(values.queues) : null;
}

function Buttons({onClose, isBusy, children}) {
  return html`<div class="row end"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>${children}</button></div>`;
}

function AddUser({client, roles, viewersAllowed, onClose}) {
  const [values, setValues] = useState({name: '', role: 'OPERATOR', queues: '', password: ''});
  const {ask, isBusy, problems} = useAsk(client, ['name', 'role', 'queues', 'password']);
  const {name, role, password} = values;
  return html`<${Dialog} title="Add user" onClose=${onClose}><form onSubmit=${(event) => ask(event, 'add_user', {name, role, password, queues: queuesOf(values)}, onClose)}>
    <${Field} label="Name" name="name" required maxlength="100" values=${values} onChange=${setValues} problem=${problems.name} />
    <${RoleFields} values=${values} onChange=${setValues} roles=${roles} viewersAllowed=${viewersAllowed} problems=${problems} />
    <${Field} label="Password, 12 characters or more" name="password" type="password" autocomplete="new-password" required minlength="12" maxlength="1000" values=${values} onChange=${setValues} problem=${problems.password} />
    <${Buttons} onClose=${onClose} isBusy=${isBusy}>Add user</${Buttons}></form></${Dialog}>`;
}

function ChangeUser({client, user, roles, viewersAllowed, onClose}) {
  const [values, setValues] = useState({role: user.role, queues: user.queues.includes('*') ? '' : user.queues.join(', '), password: ''});
  const {ask, isBusy, problems} = useAsk(client, ['role', 'queues', 'password']);
  return html`<${Dialog} title=${`Change ${user.name}`} onClose=${onClose}><p class="soft">Each of the two signs them out everywhere.</p>
    <form onSubmit=${(event) => ask(event, 'set_role', {user: user.name, role: values.role, queues: queuesOf(values)}, onClose)}>
      <${RoleFields} values=${values} onChange=${setValues} roles=${roles} viewersAllowed=${viewersAllowed} problems=${problems} />
      <div class="row end"><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Change role</button></div></form>
    <form onSubmit=${(event) => ask(event, 'set_password', {user: user.name, password: values.password}, onClose)}>
      <${Field} label="New password, 12 characters or more" name="password" type="password" autocomplete="new-password" required minlength="12" maxlength="1000" values=${values} onChange=${setValues} problem=${problems.password} />
      <${Buttons} onClose=${onClose} isBusy=${isBusy}>Change password</${Buttons}></form></${Dialog}>`;
}

function CreateToken({client, roles, scopes, onClose}) {
  const [values, setValues] = useState({name: '', role: '', scopes: [], days: '90', queues: '', jobs_per_minute: '', backlog_limit: '', owner: ''});
  const [secret, setSecret] = useState('');
  const {ask, isBusy, problems} = useAsk(client, ['name', 'scope', 'role', 'days', 'queues', 'jobs_per_minute', 'backlog_limit', 'owner']);
  if (secret) {
    return html`<${Dialog} title=${`The token ${values.name}`} onClose=${onClose}><p>Shown this once: keep it where the program finds it.</p>
      <p class="row"><code class="grow">${secret}</code><${Copy} text=${secret} short /></p><div class="row end"><button type="button" class="button main" onClick=${onClose}>I have kept it</button></div></${Dialog}>`;
  }
  const chosen = (scope) => setValues({...values, scopes: values.scopes.includes(scope) ? values.scopes.filter((one) => one !== scope) : [...values.scopes, scope]});
  const field = (name, label, more = {}) => html`<${Field} label=${label} name=${name} values=${values} onChange=${setValues} problem=${problems[name]} ...${more} />`;
  const args = {name: values.name, role: values.role || null, scopes: values.scopes, days: whole(values.days), queues: listed(values.queues), jobs_per_minute: whole(values.jobs_per_minute), backlog_limit: whole(values.backlog_limit), owner: values.owner.trim() || null};
  return html`<${Dialog} title="Create token" onClose=${onClose}><form onSubmit=${(event) => ask(event, 'create_token', args, (data) => setSecret(data.secret))}>
    ${field('name', 'Name, such as deploy-bot', {required: true, maxlength: 100})}
    <fieldset class="choices"><legend>It may</legend>${scopes.map((scope) => html`<label key=${scope}><input type="checkbox" name=${`scope-${scope}`} checked=${values.scopes.includes(scope)} onChange=${() => chosen(scope)} /> ${scope}</label>`)}<${Wrong} text=${problems.scope} /></fieldset>
    <div class="columns"><label class="stacked">Role<select name="role" value=${values.role} onChange=${(event) => setValues({...values, role: event.target.value})}><option value="">the least that this needs</option>${roles.map((role) => html`<option key=${role} value=${role}>${role}</option>`)}</select><${Wrong} text=${problems.role} /></label>
      ${field('days', 'Expires after days (empty: never)', {type: 'number', min: 1, max: 3650})}
      ${field('queues', 'Only these queues (empty: all)', {placeholder: 'webhooks:*'})}${field('owner', 'Owner (empty: you)')}
      ${field('jobs_per_minute', 'Jobs a minute at most', {type: 'number', min: 1})}${field('backlog_limit', 'Up to a backlog of', {type: 'number', min: 1})}</div>
    <${Buttons} onClose=${onClose} isBusy=${isBusy}>Create token</${Buttons}></form></${Dialog}>`;
}

function Tokens({client, tokens}) {
  return html`<div class="scroll"><table class="cards" aria-label="Tokens"><thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Scopes</th><th scope="col">Queues</th><th scope="col" class="right">Jobs a minute</th><th scope="col" class="right">Up to a backlog of</th><th scope="col">State</th><th scope="col">Last used</th><th scope="col">Expires</th><th scope="col">Owner</th><th scope="col"><span class="hidden">Revoke</span></th></tr></thead>
    <tbody>${tokens.map((token) => html`<tr key=${token.beginning}><td class="name"><b>${token.name}</b><small class="mono">${token.beginning}…</small></td><td data-label="Role">${token.role}</td>
      <td data-label="Scopes">${token.scopes.join(', ')}</td><td data-label="Queues">${ALL(token.queues)}</td>
      <td class="right" data-label="Jobs a minute">${token.jobs_per_minute === null ? 'no limit' : count(token.jobs_per_minute)}</td><td class="right" data-label="Up to a backlog of">${token.backlog_limit === null ? 'no limit' : count(token.backlog_limit)}</td>
      <td data-label="State"><${Badge} tone=${token.state === 'live' ? 'good' : ''}>${token.state}</${Badge}></td><td data-label="Last used"><${Time} at=${token.last_used_at} relative /></td>
      <td data-label="Expires">${token.expires_at ? html`<${Time} at=${token.expires_at} />` : 'never'}</td><td data-label="Owner"><${Words} text=${token.owner ?? `none (made by ${token.created_by})`} /></td>
      <td class="acts"><div class="row">${token.state !== 'revoked' && html`<${Act} client=${client} action="revoke_token" args=${{token: token.name}} tone="bad" confirm=${{title: `Revoke ${token.name}?`, text: 'Programs that use it are refused from now on. It cannot be taken back.', button: 'Revoke'}}>Revoke</${Act}>`}</div></td></tr>`)}</tbody></table></div>`;
}
