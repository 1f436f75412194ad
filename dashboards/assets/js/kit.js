// What every page is made of: the frame around it, and the small parts inside it.
import {html, options, render, useEffect, useMemo, useRef, useState} from 'teknav/vendor/preact.js';
import {Client} from 'teknav/js/client.js';
import {useSeconds} from 'teknav/js/clock.js';
import {ago, moment, seen, utc} from 'teknav/js/format.js';
import {Icon} from 'teknav/js/icons.js';
import {Shell} from 'teknav/js/shell.js';
import {at} from 'teknav/js/site.js';

export {html, useEffect, useMemo, useRef, useState, Icon};

const ADDRESS = {a: 'href', form: 'action'};

// Every link and form that is drawn, wherever its address was put together.
options.vnode = ({type, props}) => {
  const name = ADDRESS[type];
  if (name && props[name]) props[name] = at(props[name]);
};

/** Show `view` inside the frame, and again whenever something changes. */
export function mount(view, {model}) {
  const root = document.createElement('div');
  root.className = 'app';
  const client = new Client(model);
  let isScheduled = false;
  const draw = () => {
    isScheduled = false;
    render(html`<${Shell} client=${client}><${view} client=${client} ...${client.slots} /></${Shell}>`, root);
  };
  client.listen(() => {
    if (!isScheduled) {
      isScheduled = true;
      requestAnimationFrame(draw);
    }
  });
  // An agent without a visible window gets no animation frames; a hidden tab must be right when it is looked at.
  document.addEventListener('visibilitychange', draw);
  draw();
  return root;
}

/** Whether the visitor may do something on this queue; the server asks again when it is done. */
export function may(shell, operation, queue) {
  const allowed = shell.rights?.[operation];
  return allowed === true || Boolean(queue && allowed?.includes(queue));
}

/** A button that shows that its action is under way, and cannot be pressed meanwhile. */
export function Act({client, action, args, children, tone, title, disabled, confirm, icon}) {
  const [isBusy, setBusy] = useState(false);
  const press = async (event) => {
    event.stopPropagation();
    if (isBusy) return;
    if (confirm && !(await client.confirm(confirm))) return;
    setBusy(true);
    try { await client.ask(action, args); } finally { setBusy(false); }
  };
  return html`<button type="button" class=${`button ${tone ?? ''}`} title=${title} aria-label=${children ? undefined : title}
    aria-busy=${isBusy} disabled=${disabled || isBusy} onClick=${press}>
    ${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

/** A moment in the viewer's zone, with UTC on hover. */
export function Time({at, relative}) {
  useSeconds(5);
  if (!at) return html`<span class="faint">–</span>`;
  return html`<time datetime=${at} title=${`${utc(at)} · ${moment(at)} here`}>${relative ? ago(at) : moment(at)}</time>`;
}

/** Text that people wrote: its own direction, never markup, and no sign in it that reorders the rest unseen. */
export function Words({text, as = 'span', ...rest}) {
  return html`<${as} dir="auto" ...${rest}>${seen(text)}</${as}>`;
}

export function Empty({icon = 'inbox', title, children}) {
  return html`<div class="empty"><${Icon} name=${icon} size=${28} /><strong>${title}</strong><p>${children}</p></div>`;
}

export function Badge({tone, children, title}) {
  return html`<span class=${`badge ${tone ?? ''}`} title=${title}>${children}</span>`;
}

/** A filter's text field: the address changes a moment after the last key. */
export function SearchField({client, name, placeholder, value}) {
  const [text, setText] = useState(value ?? '');
  const timer = useRef(null);
  useEffect(() => setText(value ?? ''), [value]);
  const type = (event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    const wanted = event.target.value;
    timer.current = setTimeout(() => client.go({[name]: wanted.trim(), page: null}), 350);
  };
  return html`<label class="field"><${Icon} name="search" /><input type="search" dir="auto" name=${name} placeholder=${placeholder}
    aria-label=${placeholder} value=${text} onInput=${type} /></label>`;
}

export function Choice({client, name, label, value, options}) {
  return html`<label class="choice"><span>${label}</span><select name=${name} value=${value ?? ''}
    onChange=${(event) => client.go({[name]: event.target.value, page: null})}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === (value ?? '')}>${text}</option>`)}
  </select></label>`;
}

/** Pages of a list; `next` and `previous` are what the server said. */
export function Pager({client, first, shown, total, next, isLater, note}) {
  if (!shown && !isLater && !next) return null;
  const isPlaced = first !== null && first !== undefined;
  return html`<nav class="pager" aria-label="Pages">
    <span>${!shown ? 'nothing here' : html`<b>${isPlaced ? `${(first + 1).toLocaleString('en-US')}–${(first + shown).toLocaleString('en-US')}` : shown.toLocaleString('en-US')}</b>`}
      ${total !== undefined && total !== null && html` of ${total.toLocaleString('en-US')}`} ${note && html`<span class="faint">${note}</span>`}</span>
    ${isLater && html`<button type="button" class="button" onClick=${() => client.go({page: null})}>First page</button>`}
    <button type="button" class="button" disabled=${next === null || next === undefined} title="Next page"
      onClick=${() => client.go({offset: next})}><${Icon} name="chevron-right" /></button>
  </nav>`;
}

/** A bar of the last hour, one column per step; `values` may hold null where nothing is known. */
export function Spark({values, failed, label, width = 120, height = 24}) {
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  const step = width / values.length;
  return html`<svg class="spark" width=${width} height=${height} role="img" aria-label=${label}><title>${label}</title>
    ${values.map((value, at) => value ? html`<rect key=${at} x=${at * step} width=${Math.max(1, step - 0.5)}
      y=${height - value / most * height} height=${value / most * height} />` : null)}
    ${(failed ?? []).map((value, at) => value ? html`<rect key=${'f' + at} class="bad" x=${at * step} width=${Math.max(1, step - 0.5)}
      y=${height - value / most * height} height=${Math.max(1, value / most * height)} />` : null)}
  </svg>`;
}

/** `label` says of what. */
export function Progress({done, total, tone, label}) {
  const share = total ? Math.min(1, done / total) : 0;
  return html`<div class=${`progress ${tone ?? ''}`} role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${done}>
    <div style=${{width: `${share * 100}%`}}></div></div>`;
}

/** Tabs whose choice lives in the address. Tab comes to the one that is chosen; arrows, Home and End choose another. */
export function Tabs({client, name = 'tab', value, tabs}) {
  const choose = (key) => client.go({[name]: key, page: null});
  const move = (event, at) => {
    const next = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const button = event.currentTarget.parentElement.children[(next + tabs.length) % tabs.length];
    button.focus();
    button.click();
  };
  return html`<div class="tabs" role="tablist">${tabs.map(([key, text, number, unit], at) => html`
    <button type="button" key=${key} role="tab" aria-selected=${key === value} tabindex=${key === value ? 0 : -1} onKeyDown=${(event) => move(event, at)} onClick=${() => choose(key)}>
      ${text}${number !== undefined && number !== null && html`<span class="number">${number.toLocaleString('en-US')}${unit && ` ${unit}`}</span>`}</button>`)}</div>`;
}

/** Copies an id, since ids are for pasting. */
export function Copy({text, short}) {
  const [isDone, setDone] = useState(false);
  const press = async (event) => {
    event.stopPropagation();
    await navigator.clipboard?.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1_200);
  };
  return html`<button type="button" class="copy" title=${`Copy ${text}`} onClick=${press}><code>${short ? `…${text.slice(-8)}` : text}</code>
    <${Icon} name=${isDone ? 'check' : 'copy'} size=${12} /></button>`;
}

export {Dialog} from 'teknav/js/dialog.js';
