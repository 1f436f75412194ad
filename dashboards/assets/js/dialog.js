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
