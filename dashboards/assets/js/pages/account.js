// One's own account: where am I signed in? And for an owner: where is somebody else?
import {Act, Badge, Copy, Dialog, Empty, html, SearchField, Time, useState, Words} from 'teknav/js/kit.js';

const WAYS = {password: 'password', link: 'sign-in link', 'first link': 'first link', provider: 'single sign-on'};

export default function Account({client, user, own, sessions, hasPassword, mayManage, factor, problem}) {
  const isOwn = user === own;
  return html`<div class="head"><h1>${isOwn || !user ? 'Your account' : html`Sessions of <${Words} text=${user} />`}</h1>
      <p class="grow">Each browser that is signed in. End what you do not know, then change the password.</p>
      ${mayManage && html`<${SearchField} client=${client} name="user" placeholder="Sessions of another user" value=${isOwn ? '' : user} />`}</div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!sessions && !problem && html`<div class="skeleton"></div>`}
    ${sessions && html`<section class="card"><div class="title"><h2 class="grow">Signed in</h2>
        ${sessions.some((session) => !session.isThis) && html`<${Act} client=${client} action="end_sessions" args=${{user}} tone="bad" icon="log-out">${isOwn ? 'End all others' : 'End all'}</${Act}>`}</div>
      ${sessions.length === 0 ? html`<${Empty} icon="user" title="Signed in nowhere"><${Words} text=${user} /> has no open session.</${Empty}>`
        : html`<${Sessions} client=${client} user=${user} sessions=${sessions} />`}</section>
      ${isOwn && hasPassword && html`<${SecondFactor} client=${client} factor=${factor} /><${Password} client=${client} name=${own} />`}
      ${!isOwn && mayManage && html`<section class="card"><div class="body row"><span class="grow soft">Lost the phone and the recovery codes? Without the second factor, sign-in needs the password alone until another is set up.</span>
        <${Act} client=${client} action="reset_second_factor" args=${{user}} tone="bad">Reset second factor</${Act}></div></section>`}
      ${isOwn && !hasPassword && html`<section class="card"><div class="body soft">You came through single sign-on: password and second factor are the provider's.</div></section>`}`}`;
}

function Sessions({client, user, sessions}) {
  return html`<div class="scroll"><table class="cards" aria-label="Open sessions"><thead><tr><th scope="col">Device</th><th scope="col">Signed in by</th><th scope="col">From</th><th scope="col">Since</th><th scope="col">Last use</th><th scope="col">Ends at the latest</th><th scope="col"><span class="hidden">End</span></th></tr></thead>
    <tbody>${sessions.map((session) => html`<tr key=${session.handle}><td class="name" title=${session.agent}><b>${session.device}</b> ${session.isThis && html`<${Badge} tone="good">this one</${Badge}>`}</td>
      <td data-label="Signed in by">${WAYS[session.how] ?? session.how}</td><td data-label="From" class="mono">${session.address}</td>
      <td data-label="Since"><${Time} at=${session.openedAt} relative /></td><td data-label="Last use"><${Time} at=${session.usedAt} relative /></td><td data-label="Ends at the latest"><${Time} at=${session.endsAt} /></td>
      <td class="right">${!session.isThis && html`<${Act} client=${client} action="end_session" args=${{user, session: session.handle}} tone="bad">End</${Act}>`}</td></tr>`)}</tbody></table></div>`;
}

function Password({client, name}) {
  const [values, setValues] = useState({current: '', next: '', again: ''});
  const [isBusy, setBusy] = useState(false);
  const isSame = values.next === values.again;
  const send = async (event) => {
    event.preventDefault();
    if (!isSame || isBusy) return;
    setBusy(true);
    const answer = await client.ask('change_password', {current: values.current, new: values.next});
    setBusy(false);
    if (answer.ok) setValues({current: '', next: '', again: ''});
  };
  const field = (key, label, autocomplete) => html`<label class="stacked">${label}<input type="password" name=${key} dir="auto" required maxlength="1000" autocomplete=${autocomplete}
    minlength=${key === 'current' ? undefined : 12} value=${values[key]} onInput=${(event) => setValues({...values, [key]: event.target.value})} /></label>`;
  return html`<section class="card"><div class="title"><h2>Password</h2><span class="soft">Changing it ends all your other sessions.</span></div>
    <form class="body narrow" onSubmit=${send}><input type="text" name="username" value=${name} autocomplete="username" hidden readonly />
      ${field('current', 'Present password', 'current-password')}${field('next', 'New password, 12 characters or more', 'new-password')}${field('again', 'New password, once more', 'new-password')}
      ${!isSame && values.again && html`<span class="problem" role="alert">The two are not the same.</span>`}
      <div class="row end"><button class="button main" disabled=${isBusy || !isSame} aria-busy=${isBusy}>Change password</button></div></form></section>`;
}

function SecondFactor({client, factor}) {
  const [setUp, setSetUp] = useState(null);
  const [codes, setCodes] = useState(null);
  const ask = async (action, args, then) => {
    const answer = await client.ask(action, args);
    if (answer.ok) then(answer.data);
  };
  return html`<section class="card"><div class="title"><h2>Second factor</h2>${factor ? html`<${Badge} tone="good">on</${Badge}>` : html`<${Badge} tone="warn">off</${Badge}>`}
      <span class="grow soft">${factor ? html`since <${Time} at=${factor.since} />; ${factor.codesLeft} recovery code${factor.codesLeft === 1 ? '' : 's'} left` : 'A code of an app on your phone besides the password: a password alone can be stolen.'}</span>
      ${factor ? html`<button type="button" class="button" onClick=${() => ask('new_recovery_codes', {}, (data) => setCodes(data.codes))}>New recovery codes</button>
          <${Act} client=${client} action="end_second_factor" args=${{}} tone="bad" confirm=${{title: 'Turn the second factor off?', text: 'Sign-in needs the password alone then.', button: 'Turn off'}}>Turn off</${Act}>`
        : html`<button type="button" class="button main" onClick=${() => ask('begin_second_factor', {}, setSetUp)}>Set up</button>`}</div>
    ${setUp && html`<${SetUp} client=${client} setUp=${setUp} onClose=${() => setSetUp(null)} onDone=${(made) => { setSetUp(null); setCodes(made); }} />`}
    ${codes && html`<${Dialog} title="Recovery codes" onClose=${() => setCodes(null)}><p>Each signs you in once in place of the app. Keep them where the phone is not; they are shown this once.</p>
      <pre class="codes">${codes.join('\n')}</pre><div class="row end"><${Copy} text=${codes.join('\n')} short /><button type="button" class="button main" onClick=${() => setCodes(null)}>I have kept them</button></div></${Dialog}>`}</section>`;
}

function SetUp({client, setUp, onClose, onDone}) {
  const [code, setCode] = useState('');
  const [problem, setProblem] = useState('');
  const send = async (event) => {
    event.preventDefault();
    const answer = await client.ask('finish_second_factor', {code});
    if (answer.ok) onDone(answer.data.codes);
    else if (answer.text) { setProblem(answer.text); setCode(''); }
  };
  return html`<${Dialog} title="Set up a second factor" onClose=${onClose}><p>Add this key to an authenticator app (by time, six digits), <a href=${setUp.uri}>or open it there</a>:</p>
    <p class="row"><code class="grow">${setUp.key.replace(/(.{4})(?=.)/g, '$1 ')}</code><${Copy} text=${setUp.key} short /></p>
    <form onSubmit=${send}><label class="stacked">Code that the app shows now<input autofocus name="code" inputmode="numeric" autocomplete="one-time-code" required maxlength="20" aria-invalid=${Boolean(problem)} value=${code} onInput=${(event) => setCode(event.target.value)} />
      ${problem && html`<span class="problem" role="alert">${problem}</span>`}</label>
      <div class="row end"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button main">Turn on</button></div></form></${Dialog}>`;
}
