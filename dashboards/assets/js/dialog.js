// Dialogs: a question that must be answered, or a form.
import {html, useEffect, useRef, useState} from 'teknav/vendor/preact.js';

/** A modal dialog: Escape and a click beside it close it, and the focus stays inside. */
export function Dialog({title, onClose, children, wide}) {
  const box = useRef(null);
  useEffect(() => {
    box.current.showModal();
    return () => box.current?.close();
  }, []);
  const beside = (event) => { if (event.target === box.current) onClose(); };
  return html`<dialog ref=${box} class=${wide ? 'wide' : ''} onCancel=${(event) => { event.preventDefault(); onClose(); }} onClick=${beside}
    aria-label=${title}><div class="inside"><h2>${title}</h2>${children}</div></dialog>`;
}

/** The question before something that cannot be undone. `type` asks for a word to be typed. */
export function Question({question, onAnswer}) {
  const [typed, setTyped] = useState('');
  const isReady = !question.type || typed === question.type;
  return html`<${Dialog} title=${question.title} onClose=${() => onAnswer(false)}>
    <p>${question.text}</p>
    <form method="dialog" onSubmit=${(event) => { event.preventDefault(); if (isReady) onAnswer(true); }}>
      ${question.type && html`<label class="stacked">Type <b>${question.type}</b> to go on
        <input autofocus name="confirmation" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>`}
      <div class="row end"><button type="button" class="button" onClick=${() => onAnswer(false)}>Keep</button>
        <button class="button bad" disabled=${!isReady}>${question.button ?? 'Go on'}</button></div>
    </form></${Dialog}>`;
}

/** Proof that it is still the same person, before something that cannot be taken back. */
export function Proof({client, way, name, onDone}) {
  const [secret, setSecret] = useState('');
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    const answer = await client.ask('confirm', {password: secret});
    setBusy(false);
    if (answer.ok) onDone(true);
    else { setProblem(answer.text); setSecret(''); }
  };
  const buttons = (go) => html`<div class="row end"><button type="button" class="button" onClick=${() => onDone(false)}>Cancel</button>${go}</div>`;
  if (way === 'provider') {
    return html`<${Dialog} title="Confirm that it is you" onClose=${() => onDone(false)}>
      <p>This cannot be taken back, and you signed in a while ago. <a href="/oidc/begin?again=1" target="_blank">Sign in once more at your provider</a> (in a new tab), then go on here.</p>
      ${buttons(html`<button type="button" class="button main" onClick=${() => onDone(true)}>Go on</button>`)}</${Dialog}>`;
  }
  return html`<${Dialog} title="Confirm that it is you" onClose=${() => onDone(false)}><p>This cannot be taken back, and you signed in a while ago.</p>
    <form onSubmit=${send}><input type="text" name="username" value=${name} autocomplete="username" hidden readonly />
      <label class="stacked">Password, or the present code of your app<input autofocus type="password" name="confirm-password" dir="auto" required maxlength="1000" autocomplete="current-password" aria-invalid=${Boolean(problem)}
        value=${secret} onInput=${(event) => setSecret(event.target.value)} />${problem && html`<span class="problem" role="alert">${problem}</span>`}</label>
      ${buttons(html`<button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Go on</button>`)}</form></${Dialog}>`;
}
