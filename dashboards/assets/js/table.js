// Parts of tables: headings that sort on the server, cells of numbers, rows that open.
import {html} from 'teknav/vendor/preact.js';
import {count} from 'teknav/js/format.js';
import {Icon} from 'teknav/js/icons.js';

/** A heading; with a `name` it sorts. */
export function Heading({client, name, text, sort, right, title}) {
  if (!name) return html`<th class=${right ? 'right' : ''} title=${title}>${text}</th>`;
  const isChosen = sort === name;
  return html`<th class=${right ? 'right' : ''} title=${title} aria-sort=${isChosen ? 'descending' : undefined}>
    <button type="button" onClick=${() => client.go({sort: name, page: null})}>${text} ${isChosen && name !== 'catalogue' && html`<${Icon} name="arrow-down" size=${11} />`}</button></th>`;
}

export function numbers(cells) {
  return cells.map(([label, value]) => html`<td class="right" key=${label} data-label=${label}>${value ? count(value) : html`<span class="zero">0</span>`}</td>`);
}

/** A row that opens an address by a click or Enter; links and buttons inside keep their own meaning. */
export function openRow(href) {
  const isOwn = (event) => event.composedPath().some((node) => /^(A|BUTTON|INPUT|LABEL)$/.test(node.tagName ?? ''));
  return {
    style: {cursor: 'pointer'},
    onClick: (event) => { if (!isOwn(event) && !getSelection()?.toString()) location.assign(href); },
    onKeyDown: (event) => { if (event.key === 'Enter' && !isOwn(event)) location.assign(href); },
  };
}
