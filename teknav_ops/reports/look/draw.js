// Draws every chart of the page from the data beside it, in the colours of the reader's system.
(() => {
  const night = matchMedia('(prefers-color-scheme: dark)');
  const clear = 'rgba(0,0,0,0)';
  const axis = {gridcolor: '#36424e', linecolor: '#5b6b7a', zerolinecolor: '#5b6b7a'};
  const dressed = (layout) => {
    layout.height ??= 420;
    if (!night.matches) return layout;
    const copy = structuredClone(layout);
    const template = copy.template = copy.template ?? {};
    template.layout = {...template.layout, paper_bgcolor: clear, plot_bgcolor: clear,
      font: {...template.layout?.font, color: '#e4e9ee'}, hoverlabel: {bgcolor: '#1a222b'},
      xaxis: {...template.layout?.xaxis, ...axis}, yaxis: {...template.layout?.yaxis, ...axis}};
    return copy;
  };
  // Without the library, which a full disk may have no room for, charts are their tables.
  const boxes = window.Plotly ? [...document.querySelectorAll('[data-figure]')] : [];
  const draw = (box) => {
    const figure = JSON.parse(document.getElementById(box.dataset.figure).textContent);
    Plotly.react(box, figure.data ?? [], dressed(figure.layout ?? {}), {responsive: true, displaylogo: false});
  };
  boxes.forEach(draw);
  night.addEventListener('change', () => boxes.forEach(draw));
  // Paper is narrower than the window that the charts were drawn for, and has no night.
  const fit = (width) => boxes.forEach((box) => Plotly.relayout(box, {width, autosize: width === null}));
  addEventListener('beforeprint', () => fit(680));
  addEventListener('afterprint', () => fit(null));
  // Words to the reading side, numbers in columns.
  for (const cell of document.querySelectorAll('.dataframe td')) {
    if (cell.textContent.trim() && Number.isNaN(Number(cell.textContent.replaceAll(',', '')))) cell.dataset.words = '';
  }
})();
