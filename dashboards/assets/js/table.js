// Parts of tables: headings that sort on the server, cells of numbers, rows that open.
import {html, useState} from 'teknav/vendor/preact.js';
import {count} from 'teknav/js/format.js';
import {Icon} from 'teknav/js/icons.js';
import {Choice} from 'teknav/js/kit.js';
import {at} from 'teknav/js/site.js';

/** A heading that sorts: `order` is 'asc' or 'desc' where its column is the one that is sorted by. */
function SortHeading({text, order, right, title, onTurn}) {
  const names = {asc: 'ascending', desc: 'descending'};
  return html`<th scope="col" class=${right ? 'right' : ''} title=${title} aria-sort=${names[order]}>
    <button type="button" onClick=${onTurn}>${text} ${order && html`<${Icon} name=${order === 'asc' ? 'arrow-up' : 'arrow-down'} size=${11} />`}</button></th>`;
}

/** A heading; with a `name` it sorts on the server, numbers first downwards, and the other way at the next click. */
export function Heading({client, name, text, sort, order, right, title}) {
  if (!name) return html`<th scope="col" class=${right ? 'right' : ''} title=${title}>${text}</th>`;
  const isChosen = sort === name;
  const next = isChosen ? (order === 'desc' ? 'asc' : 'desc') : (right ? 'desc' : 'asc');
  return html`<${SortHeading} text=${text} right=${right} title=${title} order=${isChosen ? order : undefined} onTurn=${() => client.go({sort: name, order: next})} />`;
}

/** A heading of a list that comes in pages by one moment: it turns the list, `oldest` or `newest` first, on the server. */
export function TurnHeading({client, text, order}) {
  const isNewest = order === 'newest';
  return html`<${SortHeading} text=${text} order=${isNewest ? 'desc' : 'asc'} onTurn=${() => client.go({order: isNewest ? 'oldest' : 'newest'})} />`;
}

/** The same where a narrow screen shows no headings. */
export function NarrowOrder({client, order}) {
  return html`<span class="narrow-only"><${Choice} client=${client} name="order" label="Order" value=${order} options=${[['newest', 'newest first'], ['oldest', 'oldest first']]} /></span>`;
}

/**
 * Rows of a table that is there whole, sorted as its headings say; `columns` gives each name's value of a row. Answers
 * the rows, and `head(name, text, right)` for a heading.
 */
export function useSorted(rows, columns) {
  const [by, setBy] = useState({});
  const value = columns[by.name];
  const compare = (a, b) => (a === b ? 0 : a === null || a === undefined ? 1 : b === null || b === undefined ? -1 : (a < b ? -1 : 1) * (by.order === 'asc' ? 1 : -1));
  const sorted = value ? [...rows].sort((a, b) => compare(value(a), value(b))) : rows;
  const turn = (name, right) => setBy({name, order: by.name === name ? (by.order === 'desc' ? 'asc' : 'desc') : (right ? 'desc' : 'asc')});
  const head = (name, text, right) => html`<${SortHeading} key=${name} text=${text} right=${right} order=${by.name === name ? by.order : undefined} onTurn=${() => turn(name, right)} />`;
  return [sorted, head];
}

export function numbers(cells) {
  return cells.map(([label, value]) => html`<td class="right" key=${label} data-label=${label}>${value ? count(value) : html`<span class="zero">0</span>`}</td>`);
}

/** A row that opens an address by a click or Enter; links and buttons inside keep their own meaning. */
export function openRow(href) {
  const isOwn = (event) => event.composedPath().some((node) => /^(A|BUTTON|INPUT|LABEL)$/.test(node.tagName ?? ''));
  return {
    style: {cursor: 'pointer'},
    onClick: (event) => { if (!isOwn(event) && !getSelection()?.toString()) location.assign(at(href)); },
    onKeyDown: (event) => { if (event.key === 'Enter' && !isOwn(event)) location.assign(at(href)); },
  };
}
